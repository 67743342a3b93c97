// The Linux calls, numbers and layouts that Swift's Glibc module does not bring.
//
// Rules of this header:
// * No feature macro (_GNU_SOURCE) and no system header beyond the two below: what a public header pulls in becomes part
//   of the module and collides with Glibc's own. Everything that needs the GNU interfaces stays in clinux.c.
// * Constants are plain literals, so each has one Swift type wherever it is used; clinux.c asserts each of them against
//   the system's headers at compile time, where those headers have it.
// * A function returns its result or the negated errno; none of them touches the caller's errno as an answer.
// * No logic: a retry, a fall-back or a decision belongs to the caller.
#pragma once
#include <stddef.h>
#include <stdint.h>

// MARK: errors

/// The symbolic name ("EACCES") or NULL; static storage.
const char *vmb_error_name(int code);
/// The C library's untranslated text ("Permission denied") or NULL; static storage.
const char *vmb_error_text(int code);

// MARK: epoll

#define VMB_EPOLLIN 0x001u
#define VMB_EPOLLOUT 0x004u
#define VMB_EPOLLET 0x80000000u
#define VMB_EPOLLERR 0x008u
#define VMB_EPOLLHUP 0x010u
#define VMB_EPOLL_ADD 1
#define VMB_EPOLL_DELETE 2
#define VMB_EPOLL_MODIFY 3

/// `struct epoll_event` with its 64 bits of user data as two words. The kernel packs it on x86_64 alone.
struct vmb_epoll_event {
    uint32_t events;
#if !defined(__x86_64__)
    uint32_t unused;
#endif
    uint32_t slot;
    uint32_t generation;
};

int vmb_epoll_create(void);
int vmb_epoll_control(int epoll, int operation, int descriptor, struct vmb_epoll_event event);
int vmb_epoll_wait(int epoll, struct vmb_epoll_event *events, int capacity, int milliseconds);

// MARK: eventfd, timerfd, signalfd

/// Non-blocking, close-on-exec.
int vmb_pipe(int ends[2]);
int vmb_eventfd(unsigned int initial);
/// CLOCK_MONOTONIC, non-blocking, close-on-exec.
int vmb_timerfd(void);
/// One shot at an absolute time in nanoseconds; 0 disarms.
int vmb_timerfd_set(int descriptor, uint64_t nanoseconds);
/// Signal sets are masks here: bit n-1 stands for signal n.
int vmb_signal_block(uint64_t mask, uint64_t *previous);
int vmb_signal_set_mask(uint64_t mask);
/// Non-blocking, close-on-exec.
int vmb_signalfd(uint64_t mask);
/// Reads one signal: 1, or a negated errno.
int vmb_signalfd_read(int descriptor, int *number, int *sender);
uint64_t vmb_monotonic_nanoseconds(void);
/// Of another clock of the kernel (clock_gettime): 0, or a negated errno.
int vmb_clock_nanoseconds(int clock, uint64_t *nanoseconds);

// MARK: files and memory

#define VMB_MFD_CLOEXEC 0x1u
#define VMB_MFD_ALLOW_SEALING 0x2u
#define VMB_MFD_HUGETLB 0x4u
#define VMB_MFD_NOEXEC_SEAL 0x8u
#define VMB_SEAL_SEAL 0x01u
#define VMB_SEAL_SHRINK 0x02u
#define VMB_SEAL_GROW 0x04u
#define VMB_SEAL_WRITE 0x08u
#define VMB_SEAL_FUTURE_WRITE 0x10u
#define VMB_SEAL_EXEC 0x20u
#define VMB_F_DUPFD_CLOEXEC 1030
#define VMB_F_ADD_SEALS 1033
#define VMB_F_GET_SEALS 1034
#define VMB_F_GETFL 3
#define VMB_F_SETFL 4
#define VMB_F_GETFD 1
#define VMB_F_SETFD 2
#define VMB_FD_CLOEXEC 1
#define VMB_O_PATH 0x200000
#define VMB_O_ACCMODE 0x3
#define VMB_O_NONBLOCK 0x800
#define VMB_S_IFMT 0xF000u
#define VMB_S_IFSOCK 0xC000u
#define VMB_S_IFLNK 0xA000u
#define VMB_S_IFREG 0x8000u
#define VMB_S_IFBLK 0x6000u
#define VMB_S_IFDIR 0x4000u
#define VMB_S_IFCHR 0x2000u
#define VMB_S_IFIFO 0x1000u

/// What statx says of a file; a mode without type bits is an anonymous inode.
struct vmb_file_facts {
    uint32_t mode;
    uint32_t links;
    uint64_t size;
    uint64_t device;
    uint64_t inode;
};

int vmb_memfd_create(const char *name, unsigned int flags);
int vmb_fcntl(int descriptor, int command, long argument);
int vmb_open(const char *path, int flags);
#define VMB_OPEN_READ_WRITE 2
#define VMB_OPEN_READ 0
/// statx with AT_STATX_DONT_SYNC: answered from what the kernel has, so a network or user-space file system is never asked.
int vmb_file_facts(int descriptor, struct vmb_file_facts *facts);
/// The same for a path, without following a last symbolic link.
int vmb_path_facts(const char *path, struct vmb_file_facts *facts);
/// The block size of the descriptor's file system: a huge page's size for a hugetlb memfd.
int64_t vmb_file_system_block(int descriptor);
/// The size by seeking to the end.
int64_t vmb_seek_end(int descriptor);
#define VMB_MAP_READ 1
#define VMB_MAP_READ_WRITE 3
int vmb_map_shared(int descriptor, uint64_t offset, size_t length, int protection, void **address);
int vmb_unmap(void *address, size_t length);
/// madvise(MADV_POPULATE_READ): EFAULT where reading would raise SIGBUS, EINVAL where the kernel or the mapping knows no such call.
int vmb_populate_read(void *address, size_t length);
int vmb_truncate(int descriptor, uint64_t size);
size_t vmb_page_size(void);
int vmb_change_mode(int descriptor, uint32_t mode);
int vmb_unlink(const char *path);

// MARK: memory shared with a guest

/// A 16-bit load at an even address that nothing behind it is moved before.
uint16_t vmb_load_acquire_16(const void *address);
/// A 16-bit store at an even address that nothing before it is moved behind.
void vmb_store_release_16(void *address, uint16_t value);
/// A full barrier between stores before it and loads behind it.
void vmb_memory_fence(void);

// MARK: asynchronous input and output

/// A context for that many requests at a time: 0, or a negated errno.
int vmb_aio_setup(unsigned int requests, uint64_t *context);
int vmb_aio_destroy(uint64_t context);
/// Adds 1 to an eventfd's counter, up to its largest value, and never waits: an empty read of `file`, which is over at once, tells its end to
/// it. 0, or a negated errno (EINVAL: not an eventfd). `write` would wait for as long as who shares the eventfd likes.
int vmb_aio_signal(uint64_t context, int file, int eventfd);

// MARK: sockets

/// The longest path a socket address holds, without its terminator.
#define VMB_SOCKET_PATH_LIMIT 107
/// One more than a message may carry, so that one too many is seen and not only suspected.
#define VMB_DESCRIPTOR_SLOTS 17
#define VMB_MSG_TRUNC 0x20
#define VMB_MSG_CTRUNC 0x08

/// What came with one datagram.
struct vmb_received {
    int32_t flags;
    int32_t count;
    int32_t descriptors[VMB_DESCRIPTOR_SLOTS];
};

/// AF_UNIX, SOCK_SEQPACKET, non-blocking, close-on-exec.
int vmb_seqpacket_socket(void);
/// AF_UNIX, SOCK_STREAM, non-blocking, close-on-exec.
int vmb_stream_socket(void);
int vmb_seqpacket_pair(int descriptors[2]);
int vmb_socket_bind(int descriptor, const char *path);
int vmb_socket_connect(int descriptor, const char *path);
/// The same to a name: a path, or an abstract one if the first of its bytes is 0.
int vmb_socket_connect_name(int descriptor, const void *name, size_t length);
int vmb_socket_listen(int descriptor, int backlog);
/// Non-blocking, close-on-exec.
int vmb_socket_accept(int descriptor);
/// 1 if the descriptor is an AF_UNIX SOCK_SEQPACKET socket, else 0. `listening` is SO_ACCEPTCONN.
int vmb_socket_is_seqpacket(int descriptor, int *listening);
/// The same for SOCK_STREAM.
int vmb_socket_is_stream(int descriptor, int *listening);
int vmb_socket_peer(int descriptor, int32_t *pid, uint32_t *uid, uint32_t *gid);
/// Length, or a negated errno. Arriving descriptors are close-on-exec; they belong to the caller whatever `flags` say.
int64_t vmb_socket_receive(int descriptor, void *bytes, size_t capacity, struct vmb_received *received);
/// Never raises SIGPIPE, never waits. The descriptors stay the caller's.
int64_t vmb_socket_send(
    int descriptor, const void *bytes, size_t length, const int32_t *descriptors, uint32_t count);
/// AF_UNIX, SOCK_DGRAM, unconnected, non-blocking, close-on-exec.
int vmb_datagram_socket(void);
/// To the socket of that name: a path, or an abstract name if the first of its bytes is 0. Length, or a negated errno. Never raises
/// SIGPIPE, never waits.
int64_t vmb_datagram_send(
    int descriptor, const void *name, size_t name_length, const void *bytes, size_t length);
/// The name that an AF_UNIX socket is bound to, without a path's terminator; 0 for none, or a negated errno (EAFNOSUPPORT: of
/// another family). An abstract name begins with 0. At most 108 bytes.
int64_t vmb_socket_name(int descriptor, void *bytes, size_t capacity);

/// AF_NETLINK of the kernel's messages about devices, group 1, with credentials; non-blocking, close-on-exec.
int vmb_uevent_socket(void);
/// Length, or a negated errno (EMSGSIZE: longer than the buffer). `port` is the sender's netlink port, `user` its user id, UINT32_MAX when
/// none came.
int64_t vmb_uevent_receive(int descriptor, void *bytes, size_t capacity, uint32_t *port, uint32_t *user);

// MARK: process

/// Whether the descriptor is readable now, without waiting: poll's revents, 0 if nothing, or a negated errno.
int vmb_poll_now(int descriptor);
int vmb_prctl(int option, unsigned long a, unsigned long b, unsigned long c, unsigned long d);
int64_t vmb_random(void *bytes, size_t length);
/// Bytes of an extended attribute of a file, by its path: how many, or a negated errno.
int64_t vmb_getxattr(const char *path, const char *name, void *bytes, size_t capacity);
#define VMB_PR_SET_PDEATHSIG 1
#define VMB_PR_SET_NO_NEW_PRIVS 38
#define VMB_PR_GET_NO_NEW_PRIVS 39
/// A descriptor that stands for a process: readable once it has ended. Close-on-exec.
int vmb_pidfd_open(int32_t process);
int vmb_pidfd_signal(int descriptor, int number);
/// Closes every descriptor from `first` on.
int vmb_close_from(unsigned int first);
/// RLIMIT_CORE to 0, soft and hard.
int vmb_no_core_files(void);
#define VMB_CAP_DAC_OVERRIDE 1u
#define VMB_PR_CAPBSET_DROP 24
#define VMB_PR_SET_KEEPCAPS 8
#define VMB_PR_CAP_AMBIENT 47
#define VMB_PR_CAP_AMBIENT_CLEAR_ALL 4ul
/// Of this thread, one bit each.
int vmb_capabilities(uint64_t *permitted, uint64_t *effective);
/// Permitted and effective alike; none is inheritable.
int vmb_set_capabilities(uint64_t mask);
/// No supplementary groups, and one user and group for good.
int vmb_become(uint32_t user, uint32_t group);
int vmb_descriptor_limit(uint64_t *soft, uint64_t *hard);
int vmb_set_descriptor_limit(uint64_t soft, uint64_t hard);
/// A directory stream (opendir), NULL if it cannot be opened.
void *vmb_directory_open(const char *path);
int vmb_directory_descriptor(void *directory);
/// The next entry's name, valid until the next call; NULL at the end.
const char *vmb_directory_next(void *directory);
void vmb_directory_close(void *directory);
/// The text of a symbolic link, without a terminator.
int64_t vmb_read_link(const char *path, char *bytes, size_t capacity);

// MARK: ioctl

/// ioctl with a pointer argument: its result or the negated errno.
int vmb_ioctl(int descriptor, unsigned long request, void *argument);

// dma-buf (linux/dma-buf.h)
#define VMB_DMA_BUF_SYNC 0x40086200ul
#define VMB_DMA_BUF_SET_NAME 0x40086201ul
#define VMB_DMA_BUF_EXPORT_SYNC_FILE 0xc0086202ul
#define VMB_DMA_BUF_IMPORT_SYNC_FILE 0x40086203ul
struct vmb_dma_buf_sync { uint64_t flags; };
struct vmb_dma_buf_sync_file { uint32_t flags; int32_t descriptor; };

// udmabuf (linux/udmabuf.h)
#define VMB_UDMABUF_CREATE 0x40187542ul
#define VMB_UDMABUF_CREATE_LIST 0x40087543ul
#define VMB_UDMABUF_CLOEXEC 1u
struct vmb_udmabuf_create { uint32_t memfd; uint32_t flags; uint64_t offset; uint64_t size; };
struct vmb_udmabuf_item { uint32_t memfd; uint32_t pad; uint64_t offset; uint64_t size; };
struct vmb_udmabuf_list { uint32_t flags; uint32_t count; };

// dma-buf heaps (linux/dma-heap.h)
#define VMB_DMA_HEAP_ALLOC 0xc0184800ul
struct vmb_dma_heap_alloc { uint64_t size; uint32_t descriptor; uint32_t fd_flags; uint64_t heap_flags; };

// sync_file (linux/sync_file.h)
#define VMB_SYNC_MERGE 0xc0303e03ul
#define VMB_SYNC_FILE_INFO 0xc0383e04ul
struct vmb_sync_merge { char name[32]; int32_t other; int32_t merged; uint32_t flags; uint32_t pad; };
struct vmb_sync_file_info {
    char name[32];
    int32_t status;
    uint32_t flags;
    uint32_t fence_count;
    uint32_t pad;
    uint64_t fences;
};

// hyper_dmabuf (hyper_dmabuf.h of Intel's and ACRN's kernels, 64 bit; in no header package): no direction bits in the numbers.
#define VMB_HYPER_EXPORT_FD 0x00184703ul
#define VMB_HYPER_QUERY 0x00204705ul
struct vmb_hyper_export_fd { uint32_t id[4]; int32_t flags; int32_t descriptor; };
struct vmb_hyper_query { uint32_t id[4]; int32_t item; int32_t pad; uint64_t info; };

// DRM (drm.h, drm_mode.h) and vgem (vgem_drm.h): in no kernel header package of Debian 12, so transcribed from the
// kernel's user interface; the tests compute every number again from its parts.
#define VMB_DRM_VERSION 0xc0406400ul
#define VMB_DRM_GEM_CLOSE 0x40086409ul
#define VMB_DRM_PRIME_HANDLE_TO_FD 0xc00c642dul
#define VMB_DRM_PRIME_FD_TO_HANDLE 0xc00c642eul
#define VMB_DRM_MODE_CREATE_DUMB 0xc02064b2ul
#define VMB_DRM_DROP_MASTER 0x641ful
#define VMB_VGEM_FENCE_ATTACH 0xc0106441ul
#define VMB_VGEM_FENCE_SIGNAL 0x40086442ul
#define VMB_VGEM_FENCE_WRITE 1u
#define VMB_DRM_CLOEXEC 0x80000u
#define VMB_DRM_RDWR 0x2u
struct vmb_drm_version {
    int32_t major, minor, patch;
    size_t name_length;
    char *name;
    size_t date_length;
    char *date;
    size_t text_length;
    char *text;
};
struct vmb_drm_gem_close { uint32_t handle; uint32_t pad; };
struct vmb_drm_prime { uint32_t handle; uint32_t flags; int32_t descriptor; };
struct vmb_drm_create_dumb {
    uint32_t height, width, bpp, flags;
    uint32_t handle, pitch;
    uint64_t size;
};
struct vmb_vgem_fence_attach { uint32_t handle; uint32_t flags; uint32_t fence; uint32_t pad; };
struct vmb_vgem_fence_signal { uint32_t fence; uint32_t flags; };

// DRM synchronisation objects (drm.h)
#define VMB_DRM_GET_CAP 0xc010640cul
#define VMB_DRM_CAP_SYNCOBJ_TIMELINE 0x14u
#define VMB_DRM_SYNCOBJ_CREATE 0xc00864bful
#define VMB_DRM_SYNCOBJ_DESTROY 0xc00864c0ul
#define VMB_DRM_SYNCOBJ_HANDLE_TO_FD 0xc01064c1ul
#define VMB_DRM_SYNCOBJ_FD_TO_HANDLE 0xc01064c2ul
#define VMB_DRM_SYNCOBJ_TRANSFER 0xc02064ccul
#define VMB_DRM_SYNCOBJ_TIMELINE_SIGNAL 0xc01864cdul
#define VMB_DRM_SYNCOBJ_EVENTFD 0xc01864cful
/// With HANDLE_TO_FD: the fence as a sync_file. With FD_TO_HANDLE: a sync_file's fence into the handle.
#define VMB_DRM_SYNCOBJ_SYNC_FILE 1u
/// With EVENTFD: tell that the point has a fence, signalled or not.
#define VMB_DRM_SYNCOBJ_AVAILABLE 4u
struct vmb_drm_cap { uint64_t capability; uint64_t value; };
struct vmb_drm_syncobj { uint32_t handle; uint32_t flags; };
struct vmb_drm_syncobj_handle { uint32_t handle; uint32_t flags; int32_t descriptor; uint32_t pad; };
struct vmb_drm_syncobj_transfer {
    uint32_t source, destination;
    uint64_t source_point, destination_point;
    uint32_t flags, pad;
};
struct vmb_drm_syncobj_points { uint64_t handles, points; uint32_t count, flags; };
struct vmb_drm_syncobj_eventfd { uint32_t handle, flags; uint64_t point; int32_t descriptor; uint32_t pad; };

// The test device "vmbtest" (Tests/vm/modules/vmbtest.h), transcribed like the DRM part above.
#define VMB_TEST_FENCE 0xc0186440ul
#define VMB_TEST_SIGNAL 0x40086441ul
#define VMB_TEST_FENCE_PENDING 0u
#define VMB_TEST_FENCE_SIGNALLED 1u
#define VMB_TEST_FENCE_NEVER 2u
#define VMB_TEST_FENCE_FAILED 3u
#define VMB_TEST_FENCE_SYNC_FILE 1u
struct vmb_test_fence {
    uint32_t kind, flags, handle, usage, id;
    int32_t descriptor;
};
struct vmb_test_signal { uint32_t id; int32_t error; };
