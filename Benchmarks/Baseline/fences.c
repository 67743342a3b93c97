#define _GNU_SOURCE
#include "fences.h"
#include "../../Sources/CLinux/include/clinux.h" /* the DRM interface, which no package of headers has */
#include "linux-dmabuf-unstable-v1-client-protocol.h"
#include "linux-drm-syncobj-v1-client-protocol.h"
#include "linux-explicit-synchronization-unstable-v1-client-protocol.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/dma-buf.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* A timeline of ours and the compositor's object of it. */
struct timeline {
    uint32_t handle;
    struct wp_linux_drm_syncobj_timeline_v1 *shared;
    uint64_t point; /* the latest */
};

struct window_fences {
    int fence; /* of the frame in the mailbox, or -1 */
    struct timeline acquire;
    struct wp_linux_drm_syncobj_surface_v1 *points;
    struct zwp_linux_surface_synchronization_v1 *explicit;
};

struct buffer_fences {
    int dma_buf;
    struct timeline release;
    int event;
    struct zwp_linux_buffer_release_v1 *expected;
};

/* What a descriptor is watched for, by its number. */
static struct watch {
    struct window *held;
    struct buffer *released; /* by a fence, which is closed then */
    struct buffer *point;    /* by an eventfd, which stays */
} watches[1024];

static enum rung rung;
static int waiting, node = -1;
static uint32_t passage; /* a syncobj that single fences pass through */
static uint64_t held;
static struct zwp_linux_dmabuf_v1 *dmabuf;
static struct wp_linux_drm_syncobj_manager_v1 *syncobj;
static struct zwp_linux_explicit_synchronization_v1 *explicit_sync;

enum rung fences_rung(const char *name) {
    static const char *const names[] = {"none", "timelines", "explicit", "implicit", "hold"};
    for (unsigned index = 0; index < sizeof names / sizeof *names; index++)
        if (strcmp(name, names[index]) == 0)
            return (enum rung)index;
    errno = EINVAL;
    fail(name);
}

uint64_t fences_held(void) { return held; }

static void call(int descriptor, unsigned long request, void *argument, const char *what) {
    if (ioctl(descriptor, request, argument) < 0)
        fail(what);
}

static struct watch *watch(int descriptor, uint32_t events) {
    struct epoll_event event = {.events = events, .data = {.fd = descriptor}};
    if (descriptor < 0 || descriptor >= (int)(sizeof watches / sizeof *watches)
        || epoll_ctl(waiting, EPOLL_CTL_ADD, descriptor, &event) < 0)
        fail("watch");
    return &watches[descriptor];
}

static int is_readable(int descriptor, short events) {
    struct pollfd state = {.fd = descriptor, .events = events};
    return poll(&state, 1, 0) > 0;
}

/* ---- The compositor ---------------------------------------------------------------------------- */

static void global(void *data, struct wl_registry *registry, uint32_t name, const char *interface, uint32_t version) {
    (void)data, (void)version;
    if (strcmp(interface, zwp_linux_dmabuf_v1_interface.name) == 0)
        dmabuf = wl_registry_bind(registry, name, &zwp_linux_dmabuf_v1_interface, 3);
    else if (rung == RUNG_TIMELINES && strcmp(interface, wp_linux_drm_syncobj_manager_v1_interface.name) == 0)
        syncobj = wl_registry_bind(registry, name, &wp_linux_drm_syncobj_manager_v1_interface, 1);
    else if (rung == RUNG_EXPLICIT && strcmp(interface, zwp_linux_explicit_synchronization_v1_interface.name) == 0)
        explicit_sync = wl_registry_bind(registry, name, &zwp_linux_explicit_synchronization_v1_interface, 1);
}

static void global_remove(void *data, struct wl_registry *registry, uint32_t name) {
    (void)data, (void)registry, (void)name;
}

static const struct wl_registry_listener registry_listener = {.global = global, .global_remove = global_remove};

static void format(void *data, struct zwp_linux_dmabuf_v1 *proxy, uint32_t fourcc) {
    (void)data, (void)proxy, (void)fourcc;
}

static void modifier(void *data, struct zwp_linux_dmabuf_v1 *proxy, uint32_t fourcc, uint32_t high, uint32_t low) {
    (void)data, (void)proxy, (void)fourcc, (void)high, (void)low;
}

static const struct zwp_linux_dmabuf_v1_listener dmabuf_listener = {.format = format, .modifier = modifier};

/* The first node that knows timelines. */
static int find_node(void) {
    char path[32];
    for (int index = 0; index < 32; index++) {
        struct vmb_drm_cap cap = {.capability = VMB_DRM_CAP_SYNCOBJ_TIMELINE};
        int candidate;
        snprintf(path, sizeof path, index < 16 ? "/dev/dri/renderD%d" : "/dev/dri/card%d",
            index < 16 ? index + 128 : index - 16);
        candidate = open(path, O_RDWR | O_CLOEXEC);
        if (candidate < 0)
            continue;
        if (ioctl(candidate, VMB_DRM_GET_CAP, &cap) == 0 && cap.value == 1)
            return candidate;
        close(candidate);
    }
    errno = ENODEV;
    fail("timelines");
}

void fences_connect(struct desk *desk, enum rung wanted, int epoll) {
    struct wl_registry *registry = wl_display_get_registry(desk->display);
    rung = wanted;
    waiting = epoll;
    wl_registry_add_listener(registry, &registry_listener, NULL);
    if (wl_display_roundtrip(desk->display) < 0)
        fail("globals");
    wl_registry_destroy(registry);
    if (dmabuf == NULL || (rung == RUNG_TIMELINES && syncobj == NULL)
        || (rung == RUNG_EXPLICIT && explicit_sync == NULL)) {
        errno = ENOTSUP;
        fail("the compositor lacks what this rung needs");
    }
    zwp_linux_dmabuf_v1_add_listener(dmabuf, &dmabuf_listener, NULL);
    if (rung == RUNG_TIMELINES) {
        struct vmb_drm_syncobj create = {0};
        node = find_node();
        call(node, VMB_DRM_SYNCOBJ_CREATE, &create, "SYNCOBJ_CREATE");
        passage = create.handle;
    }
}

static void timeline_make(struct timeline *timeline) {
    struct vmb_drm_syncobj create = {0};
    struct vmb_drm_syncobj_handle handle = {.descriptor = -1};
    call(node, VMB_DRM_SYNCOBJ_CREATE, &create, "SYNCOBJ_CREATE");
    handle.handle = timeline->handle = create.handle;
    call(node, VMB_DRM_SYNCOBJ_HANDLE_TO_FD, &handle, "SYNCOBJ_HANDLE_TO_FD");
    timeline->shared = wp_linux_drm_syncobj_manager_v1_import_timeline(syncobj, handle.descriptor);
    close(handle.descriptor);
}

/* ---- Releases ---------------------------------------------------------------------------------- */

static void release(struct buffer *buffer) {
    if (!buffer->is_held)
        return; /* its window went before */
    buffer->is_held = 0;
    buffer_released(buffer);
}

/* The compositor is done but for a fence, which is ours. */
static void release_after(struct buffer *buffer, int fence) {
    if (is_readable(fence, POLLIN)) {
        close(fence);
        release(buffer);
    } else {
        watch(fence, EPOLLIN)->released = buffer;
    }
}

static void buffer_release(void *data, struct wl_buffer *proxy) {
    struct buffer *buffer = data;
    struct dma_buf_export_sync_file export = {.flags = DMA_BUF_SYNC_RW, .fd = -1};
    (void)proxy;
    if (rung == RUNG_TIMELINES || rung == RUNG_EXPLICIT)
        return; /* means nothing */
    if (is_readable(buffer->fences->dma_buf, POLLOUT))
        return release(buffer);
    call(buffer->fences->dma_buf, DMA_BUF_IOCTL_EXPORT_SYNC_FILE, &export, "EXPORT_SYNC_FILE");
    release_after(buffer, export.fd);
}

static const struct wl_buffer_listener buffer_listener = {.release = buffer_release};

static void fenced_release(void *data, struct zwp_linux_buffer_release_v1 *proxy, int32_t fence) {
    struct buffer *buffer = data;
    zwp_linux_buffer_release_v1_destroy(proxy);
    buffer->fences->expected = NULL;
    release_after(buffer, fence);
}

static void immediate_release(void *data, struct zwp_linux_buffer_release_v1 *proxy) {
    struct buffer *buffer = data;
    zwp_linux_buffer_release_v1_destroy(proxy);
    buffer->fences->expected = NULL;
    release(buffer);
}

static const struct zwp_linux_buffer_release_v1_listener release_listener = {
    .fenced_release = fenced_release, .immediate_release = immediate_release};

void fences_ready(int descriptor) {
    struct watch found = watches[descriptor];
    if (found.point != NULL)
        return release(found.point);
    memset(&watches[descriptor], 0, sizeof found);
    /* Another descriptor of a passed fence may live elsewhere: closing ours alone does not end the watch. */
    epoll_ctl(waiting, EPOLL_CTL_DEL, descriptor, NULL);
    close(descriptor);
    if (found.released != NULL)
        release(found.released);
    if (found.held != NULL) {
        found.held->is_waiting = 0;
        found.held->fences->fence = -1;
        window_ready(found.held);
    }
}

/* ---- Frames ------------------------------------------------------------------------------------ */

void fences_add_buffer(struct window *window, int index, int dma_buf, uint32_t offset, int32_t width, int32_t height,
    uint32_t stride, uint32_t fourcc) {
    struct buffer *buffer = &window->buffers[index];
    struct zwp_linux_buffer_params_v1 *params = zwp_linux_dmabuf_v1_create_params(dmabuf);
    zwp_linux_buffer_params_v1_add(params, dma_buf, 0, offset, stride, 0, 0);
    buffer->window = window;
    buffer->proxy = zwp_linux_buffer_params_v1_create_immed(params, width, height, fourcc, 0);
    wl_buffer_add_listener(buffer->proxy, &buffer_listener, buffer);
    zwp_linux_buffer_params_v1_destroy(params);
    buffer->fences = calloc(1, sizeof *buffer->fences);
    if (window->fences == NULL)
        window->fences = calloc(1, sizeof *window->fences);
    if (buffer->fences == NULL || window->fences == NULL)
        fail("memory");
    window->fences->fence = -1;
    buffer->fences->dma_buf = fcntl(dma_buf, F_DUPFD_CLOEXEC, 0);
    if (rung == RUNG_TIMELINES) {
        timeline_make(&buffer->fences->release);
        buffer->fences->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        /* Told once for each point: nothing needs to be read. */
        watch(buffer->fences->event, EPOLLIN | EPOLLET)->point = buffer;
    }
}

int fences_arrived(struct window *window, int fence) {
    window->fences->fence = fence;
    if (rung != RUNG_HOLD || fence < 0)
        return 1;
    if (is_readable(fence, POLLIN)) {
        close(fence);
        window->fences->fence = -1;
        return 1;
    }
    held++;
    window->is_waiting = 1;
    watch(fence, EPOLLIN)->held = window;
    return 0;
}

static void set_points(struct window *window, struct buffer *buffer, int fence) {
    struct window_fences *fences = window->fences;
    struct timeline *acquire = &fences->acquire, *release = &buffer->fences->release;
    struct vmb_drm_syncobj_eventfd notify = {.handle = release->handle, .point = ++release->point};
    if (fences->points == NULL) {
        timeline_make(acquire);
        fences->points = wp_linux_drm_syncobj_manager_v1_get_surface(syncobj, window->surface);
    }
    acquire->point++;
    if (fence < 0) {
        struct vmb_drm_syncobj_points points = {
            .handles = (uintptr_t)&acquire->handle, .points = (uintptr_t)&acquire->point, .count = 1};
        call(node, VMB_DRM_SYNCOBJ_TIMELINE_SIGNAL, &points, "SYNCOBJ_TIMELINE_SIGNAL");
    } else {
        struct vmb_drm_syncobj_handle import = {
            .handle = passage, .flags = VMB_DRM_SYNCOBJ_SYNC_FILE, .descriptor = fence};
        struct vmb_drm_syncobj_transfer transfer = {
            .source = passage, .destination = acquire->handle, .destination_point = acquire->point};
        call(node, VMB_DRM_SYNCOBJ_FD_TO_HANDLE, &import, "SYNCOBJ_FD_TO_HANDLE");
        call(node, VMB_DRM_SYNCOBJ_TRANSFER, &transfer, "SYNCOBJ_TRANSFER");
    }
    notify.descriptor = buffer->fences->event;
    call(node, VMB_DRM_SYNCOBJ_EVENTFD, &notify, "SYNCOBJ_EVENTFD");
    wp_linux_drm_syncobj_surface_v1_set_acquire_point(
        fences->points, acquire->shared, (uint32_t)(acquire->point >> 32), (uint32_t)acquire->point);
    wp_linux_drm_syncobj_surface_v1_set_release_point(
        fences->points, release->shared, (uint32_t)(release->point >> 32), (uint32_t)release->point);
}

static void set_fences(struct window *window, struct buffer *buffer, int fence) {
    struct window_fences *fences = window->fences;
    if (fences->explicit == NULL)
        fences->explicit
            = zwp_linux_explicit_synchronization_v1_get_synchronization(explicit_sync, window->surface);
    buffer->fences->expected = zwp_linux_surface_synchronization_v1_get_release(fences->explicit);
    zwp_linux_buffer_release_v1_add_listener(buffer->fences->expected, &release_listener, buffer);
    if (fence >= 0)
        zwp_linux_surface_synchronization_v1_set_acquire_fence(fences->explicit, fence);
}

void fences_prepare(struct window *window, struct buffer *buffer) {
    int fence = window->fences->fence;
    window->fences->fence = -1;
    if (rung == RUNG_TIMELINES) {
        set_points(window, buffer, fence);
    } else if (rung == RUNG_EXPLICIT) {
        set_fences(window, buffer, fence);
    } else if (rung == RUNG_IMPLICIT && fence >= 0) {
        struct dma_buf_import_sync_file import = {.flags = DMA_BUF_SYNC_WRITE, .fd = fence};
        call(buffer->fences->dma_buf, DMA_BUF_IOCTL_IMPORT_SYNC_FILE, &import, "IMPORT_SYNC_FILE");
    }
    if (fence >= 0)
        close(fence);
}
