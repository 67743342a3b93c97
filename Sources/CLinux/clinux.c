// Only here: the public header must not change what Glibc's own module declares.
#define _GNU_SOURCE
#include "clinux.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/aio_abi.h>
#include <linux/capability.h>
#include <linux/dma-buf.h>
#include <linux/dma-heap.h>
#include <linux/netlink.h>
#include <linux/sync_file.h>
#include <linux/udmabuf.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#define SAME(a, b) _Static_assert((a) == (b), #a " differs from " #b)
#define SAME_SIZE(a, b) _Static_assert(sizeof(a) == sizeof(b), #a " and " #b " differ in size")
#define SAME_PLACE(a, x, b, y) \
    _Static_assert(offsetof(a, x) == offsetof(b, y), #a "." #x " and " #b "." #y " differ in place")

SAME(VMB_EPOLLIN, EPOLLIN);
SAME(VMB_EPOLLOUT, EPOLLOUT);
SAME(VMB_EPOLLERR, EPOLLERR);
SAME(VMB_EPOLLHUP, EPOLLHUP);
SAME(VMB_EPOLL_ADD, EPOLL_CTL_ADD);
SAME(VMB_EPOLL_DELETE, EPOLL_CTL_DEL);
SAME(VMB_EPOLL_MODIFY, EPOLL_CTL_MOD);
SAME_SIZE(struct vmb_epoll_event, struct epoll_event);
SAME_PLACE(struct vmb_epoll_event, slot, struct epoll_event, data);

SAME(VMB_MFD_CLOEXEC, MFD_CLOEXEC);
SAME(VMB_MFD_ALLOW_SEALING, MFD_ALLOW_SEALING);
SAME(VMB_MFD_HUGETLB, MFD_HUGETLB);
SAME(VMB_SEAL_SEAL, F_SEAL_SEAL);
SAME(VMB_SEAL_SHRINK, F_SEAL_SHRINK);
SAME(VMB_SEAL_GROW, F_SEAL_GROW);
SAME(VMB_SEAL_WRITE, F_SEAL_WRITE);
SAME(VMB_SEAL_FUTURE_WRITE, F_SEAL_FUTURE_WRITE);
SAME(VMB_F_DUPFD_CLOEXEC, F_DUPFD_CLOEXEC);
SAME(VMB_F_ADD_SEALS, F_ADD_SEALS);
SAME(VMB_F_GET_SEALS, F_GET_SEALS);
SAME(VMB_F_GETFL, F_GETFL);
SAME(VMB_F_SETFL, F_SETFL);
SAME(VMB_F_GETFD, F_GETFD);
SAME(VMB_F_SETFD, F_SETFD);
SAME(VMB_FD_CLOEXEC, FD_CLOEXEC);
SAME(VMB_O_PATH, O_PATH);
SAME(VMB_O_ACCMODE, O_ACCMODE);
SAME(VMB_O_NONBLOCK, O_NONBLOCK);
SAME(VMB_OPEN_READ, O_RDONLY);
SAME(VMB_OPEN_READ_WRITE, O_RDWR);
SAME(VMB_S_IFMT, S_IFMT);
SAME(VMB_S_IFSOCK, S_IFSOCK);
SAME(VMB_S_IFLNK, S_IFLNK);
SAME(VMB_S_IFREG, S_IFREG);
SAME(VMB_S_IFBLK, S_IFBLK);
SAME(VMB_S_IFDIR, S_IFDIR);
SAME(VMB_S_IFCHR, S_IFCHR);
SAME(VMB_S_IFIFO, S_IFIFO);
SAME(VMB_MAP_READ, PROT_READ);
SAME(VMB_MAP_READ_WRITE, (PROT_READ | PROT_WRITE));
SAME(VMB_SOCKET_PATH_LIMIT, sizeof(((struct sockaddr_un *)0)->sun_path) - 1);
SAME(VMB_MSG_TRUNC, MSG_TRUNC);
SAME(VMB_MSG_CTRUNC, MSG_CTRUNC);

SAME(VMB_DMA_BUF_SYNC, DMA_BUF_IOCTL_SYNC);
SAME(VMB_DMA_BUF_SET_NAME, DMA_BUF_SET_NAME_B);
SAME(VMB_DMA_BUF_EXPORT_SYNC_FILE, DMA_BUF_IOCTL_EXPORT_SYNC_FILE);
SAME(VMB_DMA_BUF_IMPORT_SYNC_FILE, DMA_BUF_IOCTL_IMPORT_SYNC_FILE);
SAME_SIZE(struct vmb_dma_buf_sync, struct dma_buf_sync);
SAME_SIZE(struct vmb_dma_buf_sync_file, struct dma_buf_export_sync_file);
SAME_PLACE(struct vmb_dma_buf_sync_file, descriptor, struct dma_buf_export_sync_file, fd);
SAME_SIZE(struct vmb_dma_buf_sync_file, struct dma_buf_import_sync_file);
SAME_PLACE(struct vmb_dma_buf_sync_file, descriptor, struct dma_buf_import_sync_file, fd);

SAME(VMB_UDMABUF_CREATE, UDMABUF_CREATE);
SAME(VMB_UDMABUF_CREATE_LIST, UDMABUF_CREATE_LIST);
SAME(VMB_UDMABUF_CLOEXEC, UDMABUF_FLAGS_CLOEXEC);
SAME_SIZE(struct vmb_udmabuf_create, struct udmabuf_create);
SAME_PLACE(struct vmb_udmabuf_create, offset, struct udmabuf_create, offset);
SAME_PLACE(struct vmb_udmabuf_create, size, struct udmabuf_create, size);
SAME_SIZE(struct vmb_udmabuf_item, struct udmabuf_create_item);
SAME_PLACE(struct vmb_udmabuf_item, offset, struct udmabuf_create_item, offset);
SAME_SIZE(struct vmb_udmabuf_list, struct udmabuf_create_list);

SAME(VMB_DMA_HEAP_ALLOC, DMA_HEAP_IOCTL_ALLOC);
SAME_SIZE(struct vmb_dma_heap_alloc, struct dma_heap_allocation_data);
SAME_PLACE(struct vmb_dma_heap_alloc, descriptor, struct dma_heap_allocation_data, fd);
SAME_PLACE(struct vmb_dma_heap_alloc, heap_flags, struct dma_heap_allocation_data, heap_flags);

SAME(VMB_SYNC_MERGE, SYNC_IOC_MERGE);
SAME(VMB_SYNC_FILE_INFO, SYNC_IOC_FILE_INFO);
SAME_SIZE(struct vmb_sync_merge, struct sync_merge_data);
SAME_PLACE(struct vmb_sync_merge, other, struct sync_merge_data, fd2);
SAME_PLACE(struct vmb_sync_merge, merged, struct sync_merge_data, fence);
SAME_SIZE(struct vmb_sync_file_info, struct sync_file_info);
SAME_PLACE(struct vmb_sync_file_info, status, struct sync_file_info, status);
SAME_PLACE(struct vmb_sync_file_info, fence_count, struct sync_file_info, num_fences);
SAME_PLACE(struct vmb_sync_file_info, fences, struct sync_file_info, sync_fence_info);

SAME(VMB_PR_SET_PDEATHSIG, PR_SET_PDEATHSIG);
SAME(VMB_PR_SET_NO_NEW_PRIVS, PR_SET_NO_NEW_PRIVS);
SAME(VMB_PR_GET_NO_NEW_PRIVS, PR_GET_NO_NEW_PRIVS);

SAME(VMB_DRM_CLOEXEC, O_CLOEXEC);
SAME(VMB_DRM_RDWR, O_RDWR);
SAME(VMB_DRM_VERSION, _IOWR('d', 0x00, struct vmb_drm_version));
SAME(VMB_DRM_GEM_CLOSE, _IOW('d', 0x09, struct vmb_drm_gem_close));
SAME(VMB_DRM_PRIME_HANDLE_TO_FD, _IOWR('d', 0x2d, struct vmb_drm_prime));
SAME(VMB_DRM_PRIME_FD_TO_HANDLE, _IOWR('d', 0x2e, struct vmb_drm_prime));
SAME(VMB_DRM_MODE_CREATE_DUMB, _IOWR('d', 0xb2, struct vmb_drm_create_dumb));
SAME(VMB_DRM_DROP_MASTER, _IO('d', 0x1f));
SAME(VMB_VGEM_FENCE_ATTACH, _IOWR('d', 0x41, struct vmb_vgem_fence_attach));
SAME(VMB_VGEM_FENCE_SIGNAL, _IOW('d', 0x42, struct vmb_vgem_fence_signal));

SAME(VMB_CAP_DAC_OVERRIDE, CAP_DAC_OVERRIDE);
SAME(VMB_PR_CAPBSET_DROP, PR_CAPBSET_DROP);
SAME(VMB_PR_SET_KEEPCAPS, PR_SET_KEEPCAPS);
SAME(VMB_PR_CAP_AMBIENT, PR_CAP_AMBIENT);
SAME(VMB_PR_CAP_AMBIENT_CLEAR_ALL, PR_CAP_AMBIENT_CLEAR_ALL);
SAME(VMB_HYPER_EXPORT_FD, _IOC(_IOC_NONE, 'G', 3, sizeof(struct vmb_hyper_export_fd)));
SAME(VMB_HYPER_QUERY, _IOC(_IOC_NONE, 'G', 5, sizeof(struct vmb_hyper_query)));

#define RESULT(call)                       \
    do {                                   \
        __typeof__(call) result = (call);  \
        return result < 0 ? -errno : result; \
    } while (0)

const char *vmb_error_name(int code) { return strerrorname_np(code); }
const char *vmb_error_text(int code) { return strerrordesc_np(code); }

int vmb_epoll_create(void) { RESULT(epoll_create1(EPOLL_CLOEXEC)); }

int vmb_epoll_control(int epoll, int operation, int descriptor, struct vmb_epoll_event event) {
    RESULT(epoll_ctl(epoll, operation, descriptor, (struct epoll_event *)&event));
}

int vmb_epoll_wait(int epoll, struct vmb_epoll_event *events, int capacity, int milliseconds) {
    RESULT(epoll_wait(epoll, (struct epoll_event *)events, capacity, milliseconds));
}

int vmb_pipe(int ends[2]) { RESULT(pipe2(ends, O_CLOEXEC)); }
int vmb_eventfd(unsigned int initial) { RESULT(eventfd(initial, EFD_CLOEXEC | EFD_NONBLOCK)); }

int vmb_timerfd(void) { RESULT(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK)); }

int vmb_timerfd_set(int descriptor, uint64_t nanoseconds) {
    struct itimerspec at = {0};
    at.it_value.tv_sec = (time_t)(nanoseconds / 1000000000u);
    at.it_value.tv_nsec = (long)(nanoseconds % 1000000000u);
    RESULT(timerfd_settime(descriptor, TFD_TIMER_ABSTIME, &at, NULL));
}

static void set_from_mask(uint64_t mask, sigset_t *set) {
    sigemptyset(set);
    for (int number = 1; number <= 64; number++)
        if (mask >> (number - 1) & 1) sigaddset(set, number);
}

static uint64_t mask_from_set(const sigset_t *set) {
    uint64_t mask = 0;
    for (int number = 1; number <= 64; number++)
        if (sigismember(set, number) == 1) mask |= (uint64_t)1 << (number - 1);
    return mask;
}

int vmb_signal_block(uint64_t mask, uint64_t *previous) {
    sigset_t set, old;
    set_from_mask(mask, &set);
    int code = pthread_sigmask(SIG_BLOCK, &set, &old);
    if (code != 0) return -code;
    *previous = mask_from_set(&old);
    return 0;
}

int vmb_signal_set_mask(uint64_t mask) {
    sigset_t set;
    set_from_mask(mask, &set);
    return -pthread_sigmask(SIG_SETMASK, &set, NULL);
}

int vmb_signalfd(uint64_t mask) {
    sigset_t set;
    set_from_mask(mask, &set);
    RESULT(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
}

int vmb_signalfd_read(int descriptor, int *number, int *sender) {
    struct signalfd_siginfo info;
    ssize_t length = read(descriptor, &info, sizeof info);
    if (length < 0) return -errno;
    if (length != sizeof info) return -EIO;
    *number = (int)info.ssi_signo;
    *sender = (int)info.ssi_pid;
    return 1;
}

uint64_t vmb_monotonic_nanoseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

int vmb_clock_nanoseconds(int clock, uint64_t *nanoseconds) {
    struct timespec now;
    if (clock_gettime((clockid_t)clock, &now) != 0) return -errno;
    *nanoseconds = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    return 0;
}

int vmb_memfd_create(const char *name, unsigned int flags) { RESULT(memfd_create(name, flags)); }
int vmb_fcntl(int descriptor, int command, long argument) {
    RESULT(fcntl(descriptor, command, argument));
}
int vmb_open(const char *path, int flags) {
    RESULT(open(path, flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
}

static int facts(int descriptor, const char *path, int flags, struct vmb_file_facts *facts) {
    struct statx info;
    if (statx(descriptor, path, flags | AT_STATX_DONT_SYNC, STATX_BASIC_STATS, &info) < 0)
        return -errno;
    facts->mode = info.stx_mode;
    facts->links = info.stx_nlink;
    facts->size = info.stx_size;
    facts->device = makedev(info.stx_dev_major, info.stx_dev_minor);
    facts->inode = info.stx_ino;
    return 0;
}

int vmb_file_facts(int descriptor, struct vmb_file_facts *result) {
    return facts(descriptor, "", AT_EMPTY_PATH, result);
}
int vmb_path_facts(const char *path, struct vmb_file_facts *result) {
    return facts(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, result);
}

int64_t vmb_file_system_block(int descriptor) {
    struct statfs info;
    return fstatfs(descriptor, &info) < 0 ? -errno : (int64_t)info.f_bsize;
}

int64_t vmb_seek_end(int descriptor) { RESULT((int64_t)lseek(descriptor, 0, SEEK_END)); }

int vmb_map_shared(
    int descriptor, uint64_t offset, size_t length, int protection, void **address) {
    void *mapped = mmap(NULL, length, protection, MAP_SHARED, descriptor, (off_t)offset);
    if (mapped == MAP_FAILED) return -errno;
    *address = mapped;
    return 0;
}

int vmb_populate_read(void *address, size_t length) {
    RESULT(madvise(address, length, 22 /* MADV_POPULATE_READ, Linux 5.14 */));
}

int vmb_unmap(void *address, size_t length) { RESULT(munmap(address, length)); }
int vmb_truncate(int descriptor, uint64_t size) { RESULT(ftruncate(descriptor, (off_t)size)); }
size_t vmb_page_size(void) { return (size_t)sysconf(_SC_PAGESIZE); }
int vmb_change_mode(int descriptor, uint32_t mode) { RESULT(fchmod(descriptor, (mode_t)mode)); }
int vmb_unlink(const char *path) { RESULT(unlink(path)); }

#define SEQPACKET (SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC)

int vmb_seqpacket_socket(void) { RESULT(socket(AF_UNIX, SEQPACKET, 0)); }
int vmb_stream_socket(void) {
    RESULT(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
}
int vmb_seqpacket_pair(int descriptors[2]) {
    RESULT(socketpair(AF_UNIX, SEQPACKET, 0, descriptors));
}

static int address(const char *path, struct sockaddr_un *address) {
    size_t length = strlen(path);
    if (length == 0) return -EINVAL;
    if (length > VMB_SOCKET_PATH_LIMIT) return -ENAMETOOLONG;
    memset(address, 0, sizeof *address);
    address->sun_family = AF_UNIX;
    memcpy(address->sun_path, path, length);
    return 0;
}

int vmb_socket_bind(int descriptor, const char *path) {
    struct sockaddr_un at;
    int code = address(path, &at);
    if (code < 0) return code;
    RESULT(bind(descriptor, (struct sockaddr *)&at, sizeof at));
}

int vmb_socket_connect(int descriptor, const char *path) {
    struct sockaddr_un at;
    int code = address(path, &at);
    if (code < 0) return code;
    RESULT(connect(descriptor, (struct sockaddr *)&at, sizeof at));
}

int vmb_socket_listen(int descriptor, int backlog) { RESULT(listen(descriptor, backlog)); }
int vmb_socket_accept(int descriptor) {
    RESULT(accept4(descriptor, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC));
}

static int socket_is(int descriptor, int wanted, int *listening) {
    int domain = 0, type = 0;
    socklen_t length = sizeof(int);
    if (getsockopt(descriptor, SOL_SOCKET, SO_DOMAIN, &domain, &length) < 0) return -errno;
    length = sizeof(int);
    if (getsockopt(descriptor, SOL_SOCKET, SO_TYPE, &type, &length) < 0) return -errno;
    length = sizeof(int);
    if (getsockopt(descriptor, SOL_SOCKET, SO_ACCEPTCONN, listening, &length) < 0) return -errno;
    return domain == AF_UNIX && type == wanted;
}
int vmb_socket_is_seqpacket(int descriptor, int *listening) {
    return socket_is(descriptor, SOCK_SEQPACKET, listening);
}
int vmb_socket_is_stream(int descriptor, int *listening) {
    return socket_is(descriptor, SOCK_STREAM, listening);
}

int vmb_datagram_socket(void) {
    RESULT(socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
}

// The address of a name: a path, or an abstract one, whose first byte is 0. Its size, or a negated errno.
static int named_address(const void *name, size_t length, struct sockaddr_un *at) {
    if (length == 0) return -EINVAL;
    if (length > VMB_SOCKET_PATH_LIMIT) return -ENAMETOOLONG;
    memset(at, 0, sizeof *at);
    at->sun_family = AF_UNIX;
    memcpy(at->sun_path, name, length);
    // An abstract name is exactly its bytes; a path has its terminator.
    return (int)(offsetof(struct sockaddr_un, sun_path) + length + (at->sun_path[0] != 0));
}

int64_t vmb_datagram_send(
    int descriptor, const void *name, size_t name_length, const void *bytes, size_t length) {
    struct sockaddr_un at;
    int size = named_address(name, name_length, &at);
    if (size < 0) return size;
    RESULT((int64_t)sendto(
        descriptor, bytes, length, MSG_NOSIGNAL | MSG_DONTWAIT, (struct sockaddr *)&at, (socklen_t)size));
}

int vmb_socket_connect_name(int descriptor, const void *name, size_t length) {
    struct sockaddr_un at;
    int size = named_address(name, length, &at);
    if (size < 0) return size;
    RESULT(connect(descriptor, (struct sockaddr *)&at, (socklen_t)size));
}

int64_t vmb_socket_name(int descriptor, void *bytes, size_t capacity) {
    struct sockaddr_un at;
    socklen_t size = sizeof at;
    memset(&at, 0, sizeof at);
    if (getsockname(descriptor, (struct sockaddr *)&at, &size) < 0) return -errno;
    if (at.sun_family != AF_UNIX) return -EAFNOSUPPORT;
    if (size <= offsetof(struct sockaddr_un, sun_path)) return 0;
    size_t length = size - offsetof(struct sockaddr_un, sun_path);
    if (length > sizeof at.sun_path) length = sizeof at.sun_path;
    if (at.sun_path[0] != 0) length = strnlen(at.sun_path, length);
    if (length > capacity) return -ENAMETOOLONG;
    memcpy(bytes, at.sun_path, length);
    return (int64_t)length;
}

int vmb_socket_peer(int descriptor, int32_t *pid, uint32_t *uid, uint32_t *gid) {
    struct ucred peer;
    socklen_t length = sizeof peer;
    if (getsockopt(descriptor, SOL_SOCKET, SO_PEERCRED, &peer, &length) < 0) return -errno;
    *pid = peer.pid;
    *uid = peer.uid;
    *gid = peer.gid;
    return 0;
}

int64_t vmb_socket_receive(
    int descriptor, void *bytes, size_t capacity, struct vmb_received *received) {
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(VMB_DESCRIPTOR_SLOTS * sizeof(int))];
    } control;
    struct iovec data = {.iov_base = bytes, .iov_len = capacity};
    struct msghdr message = {
        .msg_iov = &data,
        .msg_iovlen = 1,
        .msg_control = &control,
        // CMSG_LEN and not CMSG_SPACE: the kernel fills the alignment's padding with a descriptor more than there is room for.
        .msg_controllen = CMSG_LEN(VMB_DESCRIPTOR_SLOTS * sizeof(int)),
    };
    received->flags = 0;
    received->count = 0;
    ssize_t length = recvmsg(descriptor, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    if (length < 0) return -errno;
    received->flags = message.msg_flags;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
        size_t size = c->cmsg_len - CMSG_LEN(0);
        memcpy(received->descriptors, CMSG_DATA(c), size);
        received->count = (int32_t)(size / sizeof(int));
        break;
    }
    return length;
}

int64_t vmb_socket_send(
    int descriptor, const void *bytes, size_t length, const int32_t *descriptors, uint32_t count) {
    // 253 is the kernel's SCM_MAX_FD; more would be refused with EINVAL there.
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(253 * sizeof(int))];
    } control;
    struct iovec data = {.iov_base = (void *)bytes, .iov_len = length};
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1};
    if (count > 253) return -EINVAL;
    if (count > 0) {
        message.msg_control = &control;
        message.msg_controllen = CMSG_SPACE(count * sizeof(int));
        struct cmsghdr *c = CMSG_FIRSTHDR(&message);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(count * sizeof(int));
        memcpy(CMSG_DATA(c), descriptors, count * sizeof(int));
    }
    ssize_t sent = sendmsg(descriptor, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    return sent < 0 ? -errno : (int64_t)sent;
}

int vmb_poll_now(int descriptor) {
    struct pollfd one = {.fd = descriptor, .events = POLLIN};
    int count = poll(&one, 1, 0);
    return count < 0 ? -errno : one.revents;
}

int64_t vmb_getxattr(const char *path, const char *name, void *bytes, size_t capacity) {
    ssize_t count = getxattr(path, name, bytes, capacity);
    return count < 0 ? -errno : (int64_t)count;
}

int vmb_prctl(int option, unsigned long a, unsigned long b, unsigned long c, unsigned long d) {
    RESULT(prctl(option, a, b, c, d));
}

int vmb_pidfd_open(int32_t process) { RESULT((int)syscall(SYS_pidfd_open, process, 0)); }
int vmb_pidfd_signal(int descriptor, int number) {
    RESULT((int)syscall(SYS_pidfd_send_signal, descriptor, number, NULL, 0));
}
int vmb_close_from(unsigned int first) {
    RESULT((int)syscall(SYS_close_range, first, ~0u, 0));
}
int vmb_no_core_files(void) {
    struct rlimit none = {0};
    RESULT(setrlimit(RLIMIT_CORE, &none));
}

int64_t vmb_random(void *bytes, size_t length) { RESULT((int64_t)getrandom(bytes, length, 0)); }

int vmb_descriptor_limit(uint64_t *soft, uint64_t *hard) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0) return -errno;
    *soft = limit.rlim_cur;
    *hard = limit.rlim_max;
    return 0;
}

int vmb_set_descriptor_limit(uint64_t soft, uint64_t hard) {
    struct rlimit limit = {.rlim_cur = soft, .rlim_max = hard};
    RESULT(setrlimit(RLIMIT_NOFILE, &limit));
}

void *vmb_directory_open(const char *path) { return opendir(path); }
int vmb_directory_descriptor(void *directory) { return dirfd(directory); }
const char *vmb_directory_next(void *directory) {
    struct dirent *entry = readdir(directory);
    return entry ? entry->d_name : NULL;
}
void vmb_directory_close(void *directory) { closedir(directory); }
int64_t vmb_read_link(const char *path, char *bytes, size_t capacity) {
    RESULT((int64_t)readlink(path, bytes, capacity));
}

uint16_t vmb_load_acquire_16(const void *address) {
    return __atomic_load_n((const uint16_t *)address, __ATOMIC_ACQUIRE);
}
void vmb_store_release_16(void *address, uint16_t value) {
    __atomic_store_n((uint16_t *)address, value, __ATOMIC_RELEASE);
}
void vmb_memory_fence(void) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }

int vmb_aio_setup(unsigned int requests, uint64_t *context) {
    aio_context_t made = 0;
    if (syscall(SYS_io_setup, requests, &made) < 0) return -errno;
    *context = made;
    return 0;
}
int vmb_aio_destroy(uint64_t context) { RESULT((int)syscall(SYS_io_destroy, (aio_context_t)context)); }
int vmb_aio_signal(uint64_t context, int file, int eventfd) {
    struct iocb request = {
        .aio_lio_opcode = IOCB_CMD_PREAD,
        .aio_fildes = (uint32_t)file,
        .aio_flags = IOCB_FLAG_RESFD,
        .aio_resfd = (uint32_t)eventfd,
    };
    struct iocb *list[1] = {&request};
    if (syscall(SYS_io_submit, (aio_context_t)context, 1, list) < 0) return -errno;
    struct io_event over[4];
    if (syscall(SYS_io_getevents, (aio_context_t)context, 0, 4, over, NULL) < 0) return -errno;
    return 0;
}

int vmb_ioctl(int descriptor, unsigned long request, void *argument) {
    RESULT(ioctl(descriptor, request, argument));
}

// The test device.
SAME(VMB_TEST_FENCE, _IOWR('d', 0x40, struct vmb_test_fence));
SAME(VMB_TEST_SIGNAL, _IOW('d', 0x41, struct vmb_test_signal));

int vmb_uevent_socket(void) {
    const struct sockaddr_nl address = {.nl_family = AF_NETLINK, .nl_groups = 1};
    const int on = 1, room = 1 << 20;
    int descriptor =
        socket(AF_NETLINK, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, NETLINK_KOBJECT_UEVENT);
    if (descriptor < 0) return -errno;
    // The room is a wish: without it messages are lost sooner, which is told.
    (void)setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
    if (setsockopt(descriptor, SOL_SOCKET, SO_PASSCRED, &on, sizeof on) < 0
        || bind(descriptor, (const struct sockaddr *)&address, sizeof address) < 0) {
        int code = errno;
        close(descriptor);
        return -code;
    }
    return descriptor;
}

int64_t vmb_uevent_receive(
    int descriptor, void *bytes, size_t capacity, uint32_t *port, uint32_t *user) {
    struct sockaddr_nl sender = {.nl_pid = UINT32_MAX};
    struct iovec part = {.iov_base = bytes, .iov_len = capacity};
    union {
        struct cmsghdr alignment;
        char bytes[CMSG_SPACE(sizeof(struct ucred))];
    } control;
    struct msghdr message = {
        .msg_name = &sender, .msg_namelen = sizeof sender, .msg_iov = &part, .msg_iovlen = 1,
        .msg_control = &control, .msg_controllen = sizeof control,
    };
    ssize_t length = recvmsg(descriptor, &message, MSG_DONTWAIT);
    if (length < 0) return -errno;
    *port = sender.nl_pid;
    *user = UINT32_MAX;
    for (struct cmsghdr *part_ = CMSG_FIRSTHDR(&message); part_; part_ = CMSG_NXTHDR(&message, part_)) {
        if (part_->cmsg_level != SOL_SOCKET || part_->cmsg_type != SCM_CREDENTIALS) continue;
        struct ucred credentials;
        memcpy(&credentials, CMSG_DATA(part_), sizeof credentials);
        *user = credentials.uid;
    }
    return message.msg_flags & MSG_TRUNC ? -EMSGSIZE : length;
}

int vmb_capabilities(uint64_t *permitted, uint64_t *effective) {
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {0};
    if (syscall(SYS_capget, &header, data) < 0) return -errno;
    *permitted = data[0].permitted | (uint64_t)data[1].permitted << 32;
    *effective = data[0].effective | (uint64_t)data[1].effective << 32;
    return 0;
}

int vmb_set_capabilities(uint64_t mask) {
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {
        {.permitted = (uint32_t)mask, .effective = (uint32_t)mask},
        {.permitted = (uint32_t)(mask >> 32), .effective = (uint32_t)(mask >> 32)},
    };
    RESULT((int)syscall(SYS_capset, &header, data));
}

int vmb_become(uint32_t user, uint32_t group) {
    if (setgroups(0, NULL) < 0 || setresgid(group, group, group) < 0) return -errno;
    RESULT(setresuid(user, user, user));
}
