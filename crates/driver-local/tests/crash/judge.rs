//! Whether a state directory is right after a crash: a new driver recovers it, and what it tells is compared with what the
//! application said before, and with what lives in the kernel. Afterwards everything is removed, and nothing may be left.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use driver_local::LocalDriver;
use driver_types::{
    ContainerDriver, ContainerFilter, ContainerInstance, ContainerStatus, ExitReason, LogOptions,
    RemoveOptions, Result, ShutdownMode, WaitCondition,
};

use crate::app::open;
use crate::before::{Before, journal};
use crate::ending;
use crate::leftovers::{self, BETWEEN_LOOKS, LOOKS};
use crate::story::{Reached, Story};
use crate::workload::{Around, IMAGE, Workload};

/// A state directory that is used again and again.
pub(crate) struct Judge {
    pub(crate) state: PathBuf,
    /// What stays in it when nothing is left.
    skeleton: BTreeSet<PathBuf>,
}

/// What is being found out about one crash.
struct Trial<'a> {
    state: &'a Path,
    driver: LocalDriver,
    story: &'a Story,
    before: Before,
    shims_killed: bool,
    complaints: Vec<String>,
}

impl Judge {
    pub(crate) fn new(state: PathBuf) -> Self {
        Self {
            state,
            skeleton: BTreeSet::new(),
        }
    }

    /// Learns what stays in the state directory, from one where nothing is left.
    pub(crate) fn learn(&mut self) {
        self.skeleton.extend(leftovers::paths(&self.state));
    }

    /// What is wrong after a crash, and then cleans up.
    pub(crate) async fn complaints(&self, story: &Story, shims_killed: bool) -> Vec<String> {
        let mut complaints = self
            .complaints_or_error(story, shims_killed)
            .await
            .unwrap_or_else(|error| vec![error.to_string()]);
        complaints.extend(story.wrong.iter().cloned());
        complaints
    }

    async fn complaints_or_error(&self, story: &Story, shims_killed: bool) -> Result<Vec<String>> {
        let mut ids = story.ids.clone();
        ids.extend(ids_of(&self.state));
        let before = Before::look(&self.state);
        let driver = open(&self.state)?;
        driver
            .recover()
            .await
            .map_err(|error| error.with_context("during", "recover"))?;
        let mut trial = Trial {
            state: &self.state,
            driver,
            story,
            before,
            shims_killed,
            complaints: Vec::new(),
        };
        let judged = trial.containers().await;
        ids.extend(ids_of(&self.state));
        let mut complaints = trial.complaints;
        complaints.extend(judged.err().map(|error| error.to_string()));
        clean(&trial.driver).await?;
        drop(trial.driver);
        let left = leftovers::stays(|| {
            let mut found = leftovers::in_kernel(&self.state, &ids);
            let paths = leftovers::paths(&self.state);
            found.extend(
                paths
                    .difference(&self.skeleton)
                    .map(|path| format!("path {}", path.display())),
            );
            found
        });
        complaints.extend(left.into_iter().map(|left| format!("left behind: {left}")));
        Ok(complaints)
    }
}

/// Removes everything but the image.
pub(crate) async fn clean(driver: &LocalDriver) -> Result<()> {
    let all = ContainerFilter {
        all_owners: true,
        ..ContainerFilter::default()
    };
    for container in driver.list_containers(&all).await? {
        driver
            .remove_container(&container.id, &RemoveOptions::force())
            .await?;
    }
    for volume in driver.list_volumes().await? {
        driver.remove_volume(&volume.id).await?;
    }
    let networks = match driver.list_networks().await {
        // As without root.
        Err(error) if error.code() == "UNSUPPORTED_OPERATION" => Vec::new(),
        found => found?,
    };
    for network in networks {
        driver.remove_network(&network.id).await?;
    }
    for image in driver.list_images().await? {
        if !image.references.iter().any(|reference| reference == IMAGE) {
            driver.remove_image(&image.id).await?;
        }
    }
    driver.recover().await?;
    driver.shutdown(ShutdownMode::Leave).await
}

/// The ids that directories of containers bear, finished or not, and what else cgroups of them are called.
fn ids_of(state: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(state.join("containers"))
        .into_iter()
        .flatten()
        .flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names
        .map(|name| name.trim_start_matches(".new-").to_owned())
        .flat_map(|id| cgroups_of(state, id))
        .collect()
}

/// How cgroups of a container can be called: its id, and the prepared ones of version 2 that its runs began in.
fn cgroups_of(state: &Path, id: String) -> Vec<String> {
    let journal = journal(state, &id);
    let named = journal.split("\"cgroup\":\"").skip(1);
    let named = named.filter_map(|rest| rest.split('"').next()).map(str::to_owned);
    named.chain([id]).collect()
}

impl Trial<'_> {
    async fn containers(&mut self) -> Result<()> {
        let found = self.driver.list_containers(&ContainerFilter::default()).await?;
        for name in &self.story.names.clone() {
            self.steps(name);
            if !self.shims_killed && self.story.cut.contains(name) {
                self.complain(name, "its end was cut off, and its shim was not killed");
            }
            let of_name: Vec<_> = found.iter().filter(|container| container.name == *name).collect();
            self.existence(name, of_name.len());
            if let Some(container) = of_name.first() {
                let before = self.complaints.len();
                let told = journal(self.state, &container.id);
                self.finished(container);
                self.container(container).await?;
                if self.complaints.len() > before {
                    let told_later = journal(self.state, &container.id);
                    self.complaints
                        .push(format!("{name}: after recover {told}{name}: judged {told_later}"));
                }
            }
            self.created_again(name, of_name.first().copied()).await?;
        }
        for other in found
            .iter()
            .filter(|container| !self.story.names.contains(&container.name))
        {
            self.complain(&other.name, "nobody made it");
        }
        Ok(())
    }

    fn complain(&mut self, name: &str, what: &str) {
        self.complaints.push(format!("{name}: {what}"));
    }

    fn existence(&mut self, name: &str, count: usize) {
        let removal = [self.story.step("remove", name), self.story.step("force", name)];
        let removed = removal.contains(&Some(Reached::Done));
        let allowed = match self.story.step("create", name) {
            _ if removed => 0..=0,
            Some(Reached::Done) if removal == [None, None] => 1..=1,
            Some(Reached::Failed) | None => 0..=0,
            _ => 0..=1,
        };
        if !allowed.contains(&count) {
            self.complain(name, &format!("there are {count} of it, not {allowed:?}"));
        }
    }

    /// What was over before `recover`, it has written down; what was half done, it has finished.
    fn finished(&mut self, found: &ContainerInstance) {
        if self.before.ended.contains(&found.id) && found.status.is_alive() {
            self.complain(
                &found.name,
                &format!("it had ended before recover, and is {:?} after it", found.status),
            );
        }
        if self.before.condemned.contains(&found.id) {
            self.complain(&found.name, "its removal by force was begun and not finished");
        }
    }

    async fn container(&mut self, found: &ContainerInstance) -> Result<()> {
        let name = &found.name;
        let Some(workload) = Workload::of_name(name) else {
            self.complain(name, "nobody makes such a name");
            return Ok(());
        };
        let mut now = found.clone();
        if now.status == ContainerStatus::Running && workload.ends {
            // It lives, so it ends exactly.
            self.driver.wait_container(&now.id, WaitCondition::Exited).await?;
            now = self.driver.get_container(&now.id).await?.unwrap_or(now);
        }
        let alive = self.agreed(&mut now).await?;
        if now.status.is_alive() != alive {
            self.complain(
                name,
                &format!("it is {:?}, but processes of it live: {alive}", now.status),
            );
        }
        self.status(&now, workload);
        self.shims(&now, workload);
        if now.status.is_alive() {
            let found = ending::complaints(&self.driver, self.state, &now, workload).await?;
            found.iter().for_each(|what| self.complain(name, what));
        } else {
            let names = cgroups_of(self.state, now.id.clone()).into_iter().collect();
            for left in leftovers::stays(|| leftovers::cgroups(&names)) {
                self.complain(name, &format!("it does not run, and has {left}"));
            }
            self.log(&now, workload).await?;
        }
        Ok(())
    }

    /// Whether its processes live, once the status says the same. An end that was under way takes as long as the kernel does,
    /// and that waits for the host's pid 1 to reap the execs whose shims were killed.
    async fn agreed(&self, now: &mut ContainerInstance) -> Result<bool> {
        let mut alive = leftovers::lives(self.state, &now.name);
        for _ in 0..LOOKS {
            if now.status.is_alive() == alive {
                break;
            }
            tokio::time::sleep(BETWEEN_LOOKS).await;
            if let Some(later) = self.driver.get_container(&now.id).await? {
                *now = later;
            }
            alive = leftovers::lives(self.state, &now.name);
        }
        Ok(alive)
    }

    fn status(&mut self, now: &ContainerInstance, workload: Workload) {
        let (story, name) = (self.story, &now.name);
        let ended = story.begun("stop", name) || story.begun("force", name);
        let fits = match now.status {
            ContainerStatus::Created => !story.done("start", name),
            ContainerStatus::Running => story.begun("start", name) && !story.done("stop", name),
            ContainerStatus::Paused => story.begun("pause", name) && !story.done("resume", name),
            ContainerStatus::Stopped | ContainerStatus::Exited => self.exit_fits(now, workload, ended),
            // With a reason, which is looked for elsewhere.
            ContainerStatus::Dead => self.shims_killed && (ended || !crate::is_root()),
            ContainerStatus::Removing => false,
        };
        if !fits {
            self.complain(name, &format!("it is {:?} with exit {:?}", now.status, now.exit));
        }
    }

    fn exit_fits(&self, now: &ContainerInstance, workload: Workload, ended: bool) -> bool {
        let Some(exit) = &now.exit else { return false };
        let own = exit.exit_code == Some(i32::from(workload.code)) && exit.signal.is_none();
        let killed = exit.exit_code == Some(137) && exit.reason == ExitReason::Removed;
        match workload.ends {
            true => own && now.status == ContainerStatus::Exited,
            false => ended && (own || killed && self.story.begun("force", &now.name)),
        }
    }

    /// Runs whose shims were killed get others, and nobody's exit is lost: an init that ends by itself tells how, and the kernel
    /// tells of others to whoever has adopted them. Only where a removal by force killed both can there be nobody who knows, or
    /// where a container without an init ended before it had another shim, or without root one with an init, which tells its
    /// shim alone.
    fn shims(&mut self, now: &ContainerInstance, workload: Workload) {
        let journal = journal(self.state, &now.id);
        let has = |record: &str| journal.contains(&format!("{{\"{record}\":"));
        let is_alone = workload.around == Around::Nothing;
        let can_be_lost = has("killing") || is_alone || !crate::is_root();
        if has("lost") && !(self.shims_killed && can_be_lost) {
            self.complain(&now.name, "its exit was lost without a reason");
        }
        if !self.shims_killed && has("adopted") {
            self.complain(&now.name, "it was adopted from a shim that nobody killed");
        }
        if !self.shims_killed && self.story.killed_execs.contains(&now.name) {
            self.complain(&now.name, "an exec of it was killed, and its shim was not");
        }
    }

    /// Every line is there once, in order, but for what a removal by force has cut off: that may be more than what was read
    /// before it. Without an init what is in the pipe at the end is gone with a killed shim.
    async fn log(&mut self, now: &ContainerInstance, workload: Workload) -> Result<()> {
        let log = self
            .driver
            .get_container_logs(&now.id, &LogOptions::default())
            .await?;
        let whole = match now.status {
            ContainerStatus::Created => String::new(),
            _ => workload.output(),
        };
        let read = match self.story.done("ready", &now.name) {
            true => workload.first(),
            false => String::new(),
        };
        let journal = journal(self.state, &now.id);
        let alone = self.shims_killed && workload.around == Around::Nothing;
        let cut = alone || journal.contains("{\"killing\":");
        if cut && whole.starts_with(&log) && log.starts_with(&read) {
            return Ok(());
        }
        if let Some(what) = ending::differs(&log, &whole) {
            self.complain(&now.name, &what);
        }
        Ok(())
    }

    /// What an application that lived on could do with a container that it had started: a killed shim is no reason to fail.
    fn steps(&mut self, name: &str) {
        for step in [
            "ready", "wait", "pause", "resume", "stop", "get", "logs", "remove", "force",
        ] {
            if self.story.done("start", name) && self.story.step(step, name) == Some(Reached::Failed) {
                self.complain(name, &format!("{step} failed: {:?}", self.story.failures));
            }
        }
    }

    /// A repeated create finds the container, or the name free; and it can be started.
    async fn created_again(&mut self, name: &str, found: Option<&ContainerInstance>) -> Result<()> {
        let Some(workload) = Workload::of_name(name) else {
            return Ok(());
        };
        let mut config = workload.config(name);
        if let Some(found) = found {
            // What else the script configured is not known here; the name must be refused to others.
            config.request_id = Some(format!("{name}-again"));
            match self.driver.create_container(&config).await {
                Ok(_) => self.complain(name, "its name was given to another"),
                Err(error) if error.code() == "CONTAINER_CREATION_FAILED" => {}
                Err(error) => return Err(error),
            }
            self.starts(name, &found.id).await?;
        } else {
            let made = self.driver.create_container(&config).await?;
            let again = self.driver.create_container(&config).await?;
            if made.id != again.id {
                self.complain(name, "a repeated request made another container");
            }
            self.starts(name, &made.id).await?;
        }
        Ok(())
    }

    async fn starts(&mut self, name: &str, id: &str) -> Result<()> {
        let now = self.driver.get_container(id).await?;
        let is_dead = now.is_some_and(|now| now.status == ContainerStatus::Dead);
        if !is_dead && let Err(error) = self.driver.start_container(id).await {
            self.complain(name, &format!("it cannot be started: {error}"));
        }
        self.driver.remove_container(id, &RemoveOptions::force()).await
    }
}
