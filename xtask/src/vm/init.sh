#!/bin/busybox sh
# The first process of the machine of `cargo xtask vm`: from its initramfs to the files of the host.
#
# The root is an overlay: below, the host's files, shared read-only; above, memory. Over it lie a share that can be written,
# at $SHARED, if that is set, and an empty disk at /run/disk: overlays cannot be made on an overlay. Cgroups are as systemd
# has them: version 2 with all controllers; so are mount points, shared between namespaces. $SHARED, $MODULES and $COMMAND
# are of the kernel's command line.
set -e
b() { /bin/busybox "$@"; }
# Where something fails, what it said is the end of the console.
trap 'b poweroff -f' EXIT

b mkdir -p /proc /dev /host /top /new
b mount -t devtmpfs dev /dev
exec >/dev/console 2>&1
while read -r module; do b insmod "/modules/$module"; done </modules/order

share=trans=virtio,version=9p2000.L,msize=512000
b mount -t 9p -o "ro,cache=loose,$share" host /host
b mount -t tmpfs -o size=8g top /top
b mkdir /top/upper /top/work
b mount -t overlay -o lowerdir=/host,upperdir=/top/upper,workdir=/top/work root /new

cd /new
b mount -t proc proc proc
b mount -t sysfs sysfs sys
b mount --move /dev dev
b mkdir -p dev/pts dev/shm
b mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts dev/pts
b mount -t tmpfs shm dev/shm
b mount -t tmpfs -o mode=755 run run
b mkdir run/disk
b mount -t ext4 -o prjquota dev/vda run/disk
b mkdir -m 1777 run/disk/tmp
if [ -n "$SHARED" ]; then b mount -t 9p -o "cache=none,$share" shared ".$SHARED"; fi
# Where the kernel looks for modules that it needs later.
b mkdir -p lib/modules
b mount --bind ".$MODULES" lib/modules
b mount -t cgroup2 -o nsdelegate,memory_recursiveprot cgroup2 sys/fs/cgroup
b mount --make-rshared /new

controllers="+cpuset +cpu +io +memory +pids"
service=sys/fs/cgroup/system.slice/vm.service
b mkdir -p "$service"
echo "$controllers" >sys/fs/cgroup/cgroup.subtree_control
echo "$controllers" >sys/fs/cgroup/system.slice/cgroup.subtree_control
echo $$ >"$service/cgroup.procs"
b ip link set lo up

# The names that udev would give the ports; the machine has them a moment after their driver.
b mkdir dev/virtio-ports
until [ -e dev/virtio-ports/output ] && [ -e dev/virtio-ports/code ]; do
    for port in sys/class/virtio-ports/*; do
        b ln -sf "../$(b basename "$port")" "dev/virtio-ports/$(b cat "$port/name")"
    done
done

exec /bin/busybox switch_root /new /bin/sh "$COMMAND"
