//! What a record of the kernel's log says of a kill for a container's memory limit.
//!
//! Nothing that runs in a container can make such a record say something of another container. Of its making are only
//! the name of the killed process, 15 bytes that come last, and the names of cgroups below its own, which come after
//! its own id. So fields are read from the front, and of several ids in a path the first counts.

use crate::engine::is_full_id;

/// How the record of a kill for the limit of one cgroup begins (Linux 5.0 and later); one for the whole machine names
/// another constraint.
const BEGINNING: &str = "oom-kill:constraint=CONSTRAINT_MEMCG,";
/// What is before it is the kernel's, and the name of one cgroup, which cannot have a slash.
const PATH_BEGINS: &str = ",oom_memcg=/";
const PATH_ENDS: &str = ",task_memcg=";
/// Longer ones are not the kernel's: paths have at most 4096 bytes.
const LONGEST: usize = 16 << 10;

/// The kernel killed for the memory limit of this container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Oom {
    pub(crate) container: String,
    /// Microseconds of the kernel's clock.
    pub(crate) micros: u64,
}

/// Reads records, one after another.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    /// The kernel writes the line piece by piece: what another core writes meanwhile cuts it into several records.
    begun: Option<(u64, String)>,
}

impl Lines {
    /// One record: `level,sequence,microseconds,flags[,more];text`, then lines of properties.
    pub(crate) fn push(&mut self, record: &[u8]) -> Option<Oom> {
        let record = String::from_utf8_lossy(record);
        let (header, text) = record.split_once(';')?;
        let text = text.split_once('\n').map_or(text, |(text, _)| text);
        let mut fields = header.split(',');
        let level: u32 = fields.next()?.parse().ok()?;
        let micros = fields.nth(1)?.parse().ok()?;
        let continues = matches!(fields.next(), Some("c" | "+"));
        // Facilities above 0 are programs of the machine.
        if level > 7 {
            return None;
        }
        if text.starts_with(BEGINNING) {
            self.begun = Some((micros, text.to_owned()));
        } else if let Some((_, line)) = self.begun.as_mut().filter(|_| continues) {
            line.push_str(text);
        } else {
            return None;
        }
        self.end()
    }

    /// The container of the line, if it is whole as far as that matters.
    fn end(&mut self) -> Option<Oom> {
        let (micros, line) = self.begun.as_ref()?;
        let micros = *micros;
        let (_, path) = line.split_once(PATH_BEGINS)?;
        let Some((path, _)) = path.split_once(PATH_ENDS) else {
            if line.len() > LONGEST {
                self.begun = None;
            }
            return None;
        };
        let container = path.split('/').find_map(container_id).map(str::to_owned);
        self.begun = None;
        container.map(|container| Oom { container, micros })
    }
}

/// The container of a cgroup: `<id>` (cgroupfs), `docker-<id>.scope` and `libpod-<id>.scope` (systemd), `libpod-<id>`.
fn container_id(cgroup: &str) -> Option<&str> {
    let name = cgroup.strip_suffix(".scope").unwrap_or(cgroup);
    let id = name.split_once('-').map_or(name, |(_, id)| id);
    is_full_id(id).then_some(id)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const ID: &str = "013c164e06fc7932ab882473fb0586243a5e0d3ac9d4185b6c1f70a4adc1f385";
    const OTHER: &str = "92d8e6f62ff37fb01593b91341024e1d10559d2f84a7627b42a292d00bc3138c";

    fn record(oom_memcg: &str, task: &str) -> String {
        format!(
            "6,427,832257932,-;oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset={ID},mems_allowed=0,\
             oom_memcg={oom_memcg},task_memcg=/docker/{ID},task={task},pid=16814,uid=1000\n"
        )
    }

    fn read(records: &[&str]) -> Vec<Oom> {
        let mut lines = Lines::default();
        let read = records.iter().filter_map(|record| lines.push(record.as_bytes()));
        read.collect()
    }

    fn oom(container: &str) -> Vec<Oom> {
        let micros = 832_257_932;
        vec![Oom {
            container: container.into(),
            micros,
        }]
    }

    /// As Linux 6.18 wrote it, and with the paths of the other cgroup drivers.
    #[rstest]
    #[case::cgroupfs(format!("/docker/{ID}"))]
    #[case::systemd(format!("/system.slice/docker-{ID}.scope"))]
    #[case::podman(format!("/machine.slice/libpod-{ID}.scope"))]
    #[case::podman_cgroupfs(format!("/libpod_parent/libpod-{ID}"))]
    #[case::rootless(format!("/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{ID}.scope/container"))]
    #[case::cgroup_in_the_container(format!("/docker/{ID}/init"))]
    fn the_container_is_found(#[case] path: String) {
        assert_eq!(read(&[&record(&path, "exe")]), oom(ID));
    }

    #[rstest]
    #[case::no_container("/user.slice/user-1000.slice")]
    #[case::parent_of_all("/docker")]
    #[case::root("/")]
    #[case::short("/docker/013c164e06fc")]
    #[case::conmon(
        "/machine.slice/libpod-conmon-013c164e06fc7932ab882473fb0586243a5e0d3ac9d4185b6c1f70a4adc1f385.scope"
    )]
    fn other_cgroups_are_nobodys(#[case] path: &str) {
        assert_eq!(read(&[&record(path, "exe")]), []);
    }

    #[rstest]
    #[case(format!("/docker/{ID}"), ",oom_memcg=/a,b")]
    #[case(format!("/docker/{ID}"), "x\\x0aoom-kill")]
    #[case(format!("/docker/{ID}"), "a;b\nc")]
    #[case(format!("/docker/{ID}/{OTHER}"), "exe")]
    #[case(format!("/docker/{ID}/x,oom_memcg=/docker/{OTHER}"), "exe")]
    #[case(format!("/docker/{ID}/x,task_memcg=/docker/{OTHER}"), "exe")]
    fn a_container_cannot_speak_of_another(#[case] path: String, #[case] task: &str) {
        assert_eq!(read(&[&record(&path, task)]), oom(ID));
    }

    /// The name of a cpuset is one name; the last one begins with the name of a process.
    #[rstest]
    #[case::cpuset(format!("6,1,2,-;oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=x,oom_memcg={OTHER},task_memcg=,mems_allowed=0,oom_memcg=/,task_memcg=/docker/{OTHER},task=x,pid=1,uid=0\n"))]
    #[case::whole_machine(format!("6,1,2,-;oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom,task_memcg=/docker/{OTHER},task=,oom_memcg=/,pid=1,uid=0\n"))]
    #[case::program(format!("14,1,2,-;oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/docker/{OTHER},task_memcg=/docker/{OTHER},task=x,pid=1,uid=0\n"))]
    #[case::not_at_the_beginning(format!("4,1,2,-;x oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/docker/{OTHER},task_memcg=/docker/{OTHER},task=x,pid=1,uid=0\n"))]
    #[case::property(format!("4,1,2,-;text\n oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/docker/{OTHER},task_memcg=/docker/{OTHER},task=x,pid=1,uid=0\n"))]
    #[case::invoked("4,347,832253309,-;oom-kill:constr invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0\n".into())]
    #[case::no_header("nonsense".into())]
    #[case::empty(String::new())]
    fn what_says_nothing_of_a_container_is_passed_over(#[case] record: String) {
        assert_eq!(read(&[&record]), []);
    }

    #[test]
    fn a_line_in_pieces_is_joined() {
        let head = "6,427,832257932,-,caller=T7;oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null)\n";
        let other = "6,428,832257940,-;docker0: port 1(veth1) entered blocking state\n";
        let middle = format!("6,429,832257941,c;,cpuset={ID},mems_allowed=0,oom_memcg=/docker/{ID}\n");
        let tail = format!("6,431,832257942,c;,task_memcg=/docker/{ID},task=exe,pid=1,uid=0\n");
        assert_eq!(read(&[head, other, &middle, other, &tail]), oom(ID));
        assert_eq!(read(&[&middle, &tail]), []);
        let whole = record(&format!("/docker/{OTHER}"), "exe");
        assert_eq!(read(&[head, &whole, &middle, &tail]), oom(OTHER));
    }
}
