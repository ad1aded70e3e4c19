// floor: the physical limit of one container lifecycle, repeated N times from one long-lived process.
// clone(pid+mnt+uts+ipc[+net], CLONE_VM|CLONE_VFORK|CLONE_PIDFD) -> join v1 cgroups -> cgroupns -> overlay root ->
// proc/sys/dev/pts/shm/mqueue -> masked + read-only paths -> pivot_root -> lo up, hostname, rlimit -> caps, no_new_privs,
// seccomp -> exec CMD -> pidfd poll + waitid -> remove cgroups -> remove upper/work.
//   gcc -O2 -static -o floor floor.c -lseccomp
// With -x PID instead: join all namespaces of PID, fork, exec CMD, wait; N times. With -v: every sample in us, a line each.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#ifndef P_PIDFD
#define P_PIDFD 3
#endif
static double now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec * 1e6 + t.tv_nsec / 1e3; }
enum { S0, S_DIRS, S_CGMK, S_CLONE0, C_START, C_CG, C_OVL, C_PROC, C_DEV, C_MASK, C_PIVOT, C_MISC, C_CAPS, C_SECC, S_EXECED, S_EXIT, S_WAIT, S_CGRM, S_RM, NST };
static const char *SN[NST] = {"", "mkdir upper+work", "cgroup mkdir x5 + 14 limit writes", "(prep)", "clone -> child runs", "join 5 cgroups + unshare cgroupns", "rprivate / + overlay mount", "proc + sysfs", "dev tmpfs+nodes, pts, shm, mqueue", "masked (11) + read-only (5) paths", "pivot_root + umount old root", "hostname, lo up, rlimit, setsid", "close_range, caps drop, no_new_privs", "seccomp filter install", "execve", "run " "(until pidfd readable)", "waitid", "rmdir 5 cgroups", "remove upper+work"};
static const char *rootfs, *scratch, *join = "tasks", *cgbase = "/sys/fs/cgroup"; static char **cmd; static int net = 1, vol = 1, mode_fork, mask = 1, secc = 1, native;
static struct sock_fprog prog; static const char *CG[] = {"cpu", "memory", "pids", "devices", "freezer"};
struct job { double t[NST]; char id[64], up[256], wk[256], opts[1024], mp[256]; int cgfd[5]; int err, line; };
#define CK(x) do { if ((long)(x) < 0) { j->err = errno; j->line = __LINE__; _exit(126); } } while (0)
static int wr(int d, const char *f, const char *s) { int fd = openat(d, f, O_WRONLY | O_CLOEXEC); if (fd < 0) return -1; int r = write(fd, s, strlen(s)); close(fd); return r; }
static int otree(int d, const char *p, unsigned f) { return syscall(SYS_open_tree, d, p, f | OPEN_TREE_CLOEXEC); }
static int at(int root, const char *p) { struct open_how h = {.flags = O_PATH | O_CLOEXEC | O_NOFOLLOW, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS}; return syscall(SYS_openat2, root, p, &h, sizeof h); }
static int mv(int tree, int target) { return syscall(SYS_move_mount, tree, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH); }
static const uint64_t KEEP = 1ull<<CAP_CHOWN|1ull<<CAP_DAC_OVERRIDE|1ull<<CAP_FSETID|1ull<<CAP_FOWNER|1ull<<CAP_MKNOD|1ull<<CAP_NET_RAW|1ull<<CAP_SETGID|1ull<<CAP_SETUID|1ull<<CAP_SETFCAP|1ull<<CAP_SETPCAP|1ull<<CAP_NET_BIND_SERVICE|1ull<<CAP_SYS_CHROOT|1ull<<CAP_KILL|1ull<<CAP_AUDIT_WRITE;
static int child(void *a) { // async-signal-safe: raw syscalls and stack only
  struct job *j = a; j->t[C_START] = now();
  if (strcmp(join, "none")) { for (int i = 0; i < 5; i++) CK(wr(j->cgfd[i], !strcmp(join, "tasks") ? "tasks" : "cgroup.procs", "0")); CK(unshare(CLONE_NEWCGROUP)); }
  j->t[C_CG] = now();
  CK(mount("", "/", 0, MS_REC | MS_PRIVATE, 0)); CK(mount("overlay", j->mp, "overlay", 0, j->opts)); CK(chdir(j->mp));
  j->t[C_OVL] = now();
  CK(mount("proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, 0)); CK(mount("sysfs", "sys", "sysfs", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, 0));
  j->t[C_PROC] = now();
  CK(mount("tmpfs", "dev", "tmpfs", MS_NOSUID | MS_STRICTATIME, "mode=755,size=65536k")); CK(chdir("dev"));
  static const struct { const char *n; int ma, mi; } D[] = {{"null", 1, 3}, {"zero", 1, 5}, {"full", 1, 7}, {"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0}};
  umask(0); for (int i = 0; i < 6; i++) CK(mknod(D[i].n, S_IFCHR | 0666, makedev(D[i].ma, D[i].mi))); umask(022);
  CK(symlink("/proc/self/fd", "fd")); CK(symlink("/proc/self/fd/0", "stdin")); CK(symlink("/proc/self/fd/1", "stdout")); CK(symlink("/proc/self/fd/2", "stderr")); CK(symlink("pts/ptmx", "ptmx"));
  CK(mkdir("pts", 0755)); CK(mount("devpts", "pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5"));
  CK(mkdir("shm", 01777)); CK(mount("shm", "shm", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=1777,size=65536k"));
  CK(mkdir("mqueue", 0755)); CK(mount("mqueue", "mqueue", "mqueue", MS_NOSUID | MS_NODEV | MS_NOEXEC, 0)); CK(chdir(".."));
  j->t[C_DEV] = now();
  if (mask) {
    static const char *M[] = {"proc/acpi", "proc/asound", "proc/interrupts", "proc/kcore", "proc/keys", "proc/latency_stats", "proc/timer_list", "proc/timer_stats", "proc/sched_debug", "proc/scsi", "sys/firmware"}; static const char *R[] = {"proc/bus", "proc/fs", "proc/irq", "proc/sys", "proc/sysrq-trigger"};
    int root = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC), first = -1; CK(root);
    for (int i = 0; i < 11; i++) { int t = at(root, M[i]); if (t < 0) { if (errno == ENOENT) continue; CK(-1); } struct stat st; CK(fstat(t, &st)); int m;
      if (S_ISDIR(st.st_mode)) { if (first < 0) { int f = syscall(SYS_fsopen, "tmpfs", 1); CK(f); CK(syscall(SYS_fsconfig, f, FSCONFIG_CMD_CREATE, 0, 0, 0)); first = syscall(SYS_fsmount, f, FSMOUNT_CLOEXEC, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC); CK(first); close(f); m = first; } else { m = otree(first, "", AT_EMPTY_PATH | OPEN_TREE_CLONE); } }
      else { int nl = at(root, "dev/null"); CK(nl); m = otree(nl, "", AT_EMPTY_PATH | OPEN_TREE_CLONE); close(nl); }
      CK(m); CK(mv(m, t)); if (m != first) close(m); close(t); }
    for (int i = 0; i < 5; i++) { int t = at(root, R[i]); if (t < 0) { if (errno == ENOENT) continue; CK(-1); } int m = otree(t, "", AT_EMPTY_PATH | OPEN_TREE_CLONE | AT_RECURSIVE); CK(m); struct mount_attr ma = {.attr_set = MOUNT_ATTR_RDONLY}; CK(syscall(SYS_mount_setattr, m, "", AT_EMPTY_PATH | AT_RECURSIVE, &ma, sizeof ma)); CK(mv(m, t)); close(m); close(t); }
  }
  j->t[C_MASK] = now();
  CK(syscall(SYS_pivot_root, ".", ".")); CK(umount2(".", MNT_DETACH)); CK(chdir("/"));
  j->t[C_PIVOT] = now();
  CK(sethostname("floor", 5)); CK(setsid()); struct rlimit rl = {1024, 1024}; CK(setrlimit(RLIMIT_NOFILE, &rl));
  if (net) { int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0); CK(s); struct ifreq q; memset(&q, 0, sizeof q); strcpy(q.ifr_name, "lo"); q.ifr_flags = IFF_UP; CK(ioctl(s, SIOCSIFFLAGS, &q)); close(s); }
  j->t[C_MISC] = now();
  CK(syscall(SYS_close_range, 3, ~0u, 4 /* CLOEXEC */));
  for (int c = 0; c <= CAP_LAST_CAP; c++) if (!(KEEP >> c & 1)) CK(prctl(PR_CAPBSET_DROP, c, 0, 0, 0));
  struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0}; struct __user_cap_data_struct d[2] = {{KEEP, KEEP, 0}, {KEEP >> 32, KEEP >> 32, 0}}; CK(syscall(SYS_capset, &h, d));
  CK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
  j->t[C_CAPS] = now();
  if (secc) CK(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog));
  j->t[C_SECC] = now();
  char *env[] = {"PATH=/bin:/usr/bin", 0}; execve(cmd[0], cmd, env); CK(-1); return 0;
}
static void mkfilter(void) {
  scmp_filter_ctx c = seccomp_init(SCMP_ACT_ERRNO(EPERM)); if (!native) { seccomp_arch_add(c, SCMP_ARCH_X86); seccomp_arch_add(c, SCMP_ARCH_X32); } seccomp_attr_set(c, SCMP_FLTATR_CTL_OPTIMIZE, 2);
  static const char *DENY[] = {"mount", "umount2", "umount", "pivot_root", "setns", "unshare", "kexec_load", "kexec_file_load", "init_module", "finit_module", "delete_module", "bpf", "perf_event_open", "userfaultfd", "keyctl", "add_key", "request_key", "open_by_handle_at", "swapon", "swapoff", "reboot", "io_uring_setup", "io_uring_enter", "io_uring_register", "fsopen", "fsconfig", "fsmount", "fspick", "open_tree", "move_mount", "mount_setattr", "quotactl", "acct", "settimeofday", "clock_settime", "iopl", "ioperm", "lookup_dcookie", "move_pages", "mbind", "nfsservctl", "uselib", "ustat", "sysfs", "_sysctl", "vm86", "vm86old", "clone", "clone3", "personality", "create_module", "get_kernel_syms", "query_module", 0};
  int n = 0; for (int i = 0; i < 470; i++) { char *nm = seccomp_syscall_resolve_num_arch(SCMP_ARCH_X86_64, i); if (!nm) continue; int bad = 0; for (int k = 0; DENY[k]; k++) bad |= !strcmp(nm, DENY[k]); if (!bad && !seccomp_rule_add(c, SCMP_ACT_ALLOW, i, 0)) n++; free(nm); }
  seccomp_rule_add(c, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1, SCMP_A0(SCMP_CMP_MASKED_EQ, 0x7E020000, 0)); seccomp_rule_add(c, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0); seccomp_rule_add(c, SCMP_ACT_ALLOW, SCMP_SYS(personality), 1, SCMP_A0(SCMP_CMP_EQ, 0));
  int fd = memfd_create("bpf", 0); if (seccomp_export_bpf(c, fd)) { perror("export"); exit(1); } off_t l = lseek(fd, 0, SEEK_END); prog.len = l / 8; prog.filter = malloc(l); if (pread(fd, prog.filter, l, 0) != l) exit(1); close(fd); seccomp_release(c);
  fprintf(stderr, "seccomp: %d syscalls allowed, %d BPF instructions, %d arch(es)\n", n, prog.len, native ? 1 : 3);
}
static void rmtree2(struct job *j) { char b[320]; snprintf(b, 320, "%s/work/incompat/volatile/dirty", j->wk); unlink(b); snprintf(b, 320, "%s/work/incompat/volatile", j->wk); rmdir(b); snprintf(b, 320, "%s/work/incompat", j->wk); rmdir(b); snprintf(b, 320, "%s/work", j->wk); rmdir(b); rmdir(j->wk); snprintf(b, 320, "%s/dev", j->up); rmdir(b); rmdir(j->up); }
static char stk[1 << 16] __attribute__((aligned(16)));
static void once(struct job *j, int w, int i) {
  char p[320]; memset(j, 0, sizeof *j); int cg = strcmp(join, "none") != 0;
  snprintf(j->id, 64, "floor-%d-%d-%d", getpid(), w, i); snprintf(j->up, 256, "%s/%s.u", scratch, j->id); snprintf(j->wk, 256, "%s/%s.w", scratch, j->id); snprintf(j->mp, 256, "%s/m", scratch);
  snprintf(j->opts, 1024, "lowerdir=%s,upperdir=%s,workdir=%s%s", rootfs, j->up, j->wk, vol ? ",volatile" : "");
  j->t[S0] = now(); if (mkdir(j->up, 0755) || mkdir(j->wk, 0755)) { perror(j->up); exit(1); } j->t[S_DIRS] = now();
  if (cg) for (int k = 0; k < 5; k++) { snprintf(p, 320, "%s/%s/%s", cgbase, CG[k], j->id); if (mkdir(p, 0755)) { perror(p); exit(1); } j->cgfd[k] = open(p, O_PATH | O_DIRECTORY | O_CLOEXEC); }
  if (cg) { int *f = j->cgfd; wr(f[0], "cpu.shares", "100000"); wr(f[0], "cpu.cfs_period_us", "100000"); wr(f[0], "cpu.cfs_quota_us", "200000"); wr(f[1], "memory.limit_in_bytes", "268435456"); wr(f[2], "pids.max", "256");
    wr(f[3], "devices.deny", "a"); const char *A[] = {"c 1:3 rwm", "c 1:5 rwm", "c 1:7 rwm", "c 1:8 rwm", "c 1:9 rwm", "c 5:0 rwm", "c 5:2 rwm", "c 136:* rwm"}; for (int k = 0; k < 8; k++) wr(f[3], "devices.allow", A[k]); }
  j->t[S_CGMK] = now(); int pfd = -1, fl = CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | (net ? CLONE_NEWNET : 0) | CLONE_PIDFD | SIGCHLD | (mode_fork ? 0 : CLONE_VM | CLONE_VFORK);
  j->t[S_CLONE0] = now(); pid_t c = clone(child, stk + sizeof stk, fl, j, &pfd); if (c < 0) { perror("clone"); exit(1); } if (!mode_fork) j->t[S_EXECED] = now();
  struct pollfd pf = {pfd, POLLIN, 0}; poll(&pf, 1, -1); j->t[S_EXIT] = now(); siginfo_t si; if (waitid(P_PIDFD, pfd, &si, WEXITED)) perror("waitid"); close(pfd); j->t[S_WAIT] = now();
  if (mode_fork) j->t[S_EXECED] = j->t[C_SECC];
  if (cg) for (int k = 0; k < 5; k++) { close(j->cgfd[k]); snprintf(p, 320, "%s/%s/%s", cgbase, CG[k], j->id); int r; while ((r = rmdir(p)) && errno == EBUSY); if (r) perror(p); }
  j->t[S_CGRM] = now(); rmtree2(j); j->t[S_RM] = now();
  if (si.si_status) { fprintf(stderr, "child failed: status %d line %d errno %s\n", si.si_status, j->line, strerror(j->err)); exit(1); }
}
static pid_t target; static int joined; static char stk2[1 << 16] __attribute__((aligned(16)));
static int inside(void *a) { char *env[] = {"PATH=/bin:/usr/bin", 0}; execve(cmd[0], cmd, env); _exit(127); }
static int joiner(void *a) { if (setns(joined, CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWCGROUP | CLONE_NEWPID)) _exit(126); pid_t p = clone(inside, stk2 + sizeof stk2, CLONE_VM | CLONE_VFORK | SIGCHLD, 0); int st; if (p < 0 || waitpid(p, &st, 0) < 0) _exit(125); _exit(WIFEXITED(st) ? WEXITSTATUS(st) : 124); }
static void join_once(struct job *j) {
  memset(j, 0, sizeof *j); j->t[S0] = now(); joined = syscall(SYS_pidfd_open, target, 0); int pfd = -1; pid_t c = clone(joiner, stk + sizeof stk, CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD, 0, &pfd); if (joined < 0 || c < 0) { perror("join"); exit(1); }
  siginfo_t si; if (waitid(P_PIDFD, pfd, &si, WEXITED)) perror("waitid"); close(pfd); close(joined); j->t[S_RM] = now();
  if (si.si_status) { fprintf(stderr, "exec failed: status %d\n", si.si_status); exit(1); }
}
static int cmp(const void *a, const void *b) { double x = *(double *)a, y = *(double *)b; return x < y ? -1 : x > y; }
int main(int c, char **v) {
  int n = 200, jn = 1, o, gap = 0, table = 0, raw = 0;
  while ((o = getopt(c, v, "+r:s:n:j:c:b:NVFMS1i:tvx:")) > 0) switch (o) { case 'r': rootfs = optarg; break; case 's': scratch = optarg; break; case 'n': n = atoi(optarg); break; case 'j': jn = atoi(optarg); break; case 'c': join = optarg; break; case 'b': cgbase = optarg; break; case 'N': net = 0; break; case 'V': vol = 0; break; case 'F': mode_fork = 1; break; case 'M': mask = 0; break; case 'S': secc = 0; break; case '1': native = 1; break; case 'i': gap = atoi(optarg); break; case 't': table = 1; break; case 'v': raw = 1; break; case 'x': target = atoi(optarg); break; default: return 2; }
  cmd = v + optind; if (target) rootfs = scratch = "/tmp"; if (!rootfs || !scratch || !*cmd) { fprintf(stderr, "usage: floor -r ROOTFS -s SCRATCH [-n N] [-j PARALLEL] [-c tasks|procs|none] [-N no netns] [-V not volatile] [-F fork] [-M no masks] [-S no seccomp] [-1 seccomp for the native arch only] [-i idle ms between] [-t table] CMD..\n"); return 2; }
  if (!target) { char b[300]; snprintf(b, 300, "%s/m", scratch); mkdir(b, 0755); mkfilter(); } int fd0 = open("/dev/null", O_RDWR); dup2(fd0, 0);
  struct job *J = mmap(0, sizeof *J * n * jn, 3, MAP_SHARED | MAP_ANONYMOUS, -1, 0); double T = now();
  for (int w = 0; w < jn; w++) if (jn == 1) { for (int i = 0; i < n; i++) { target ? join_once(&J[i]) : once(&J[i], 0, i); if (gap) usleep(gap * 1000); } } else if (!fork()) { for (int i = 0; i < n; i++) once(&J[w * n + i], w, i); _exit(0); }
  if (jn > 1) { while (wait(0) > 0); }
  T = now() - T; int m = n * jn; double *x = calloc(m, sizeof *x);
  if (raw) { for (int i = 0; i < m; i++) printf("%.0f\n", J[i].t[S_RM] - J[i].t[S0]); return 0; }
  if (table) { printf("| step | p10 us | p50 us | p90 us |\n|---|---|---|---|\n"); for (int s = 1; s < NST; s++) { if (s == S_CLONE0) continue; for (int i = 0; i < m; i++) x[i] = J[i].t[s] - J[i].t[s - 1]; qsort(x, m, sizeof *x, cmp); printf("| %s | %.0f | %.0f | %.0f |\n", SN[s], x[m / 10], x[m / 2], x[m * 9 / 10]); } }
  int from[] = {S0, S0, S_EXECED, S_WAIT}, to[] = {S_RM, S_EXECED, S_WAIT, S_RM}; const char *nm[] = {"TOTAL lifecycle", "create+start (until exec done)", "run+exit+wait", "delete"};
  for (int k = 0; k < 4; k++) { for (int i = 0; i < m; i++) x[i] = J[i].t[to[k]] - J[i].t[from[k]]; qsort(x, m, sizeof *x, cmp); printf("%-32s p10=%.0f p50=%.0f p90=%.0f p99=%.0f us\n", nm[k], x[m / 10], x[m / 2], x[m * 9 / 10], x[m * 99 / 100]); }
  printf("throughput %.0f containers/s (%d x %d)\n", m / (T / 1e6), jn, n); return 0;
}
