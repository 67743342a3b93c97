#include "window.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

_Noreturn void fail(const char *what) {
    fprintf(stderr, "bench: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void shell_ping(void *data, struct xdg_wm_base *shell, uint32_t serial) {
    (void)data;
    xdg_wm_base_pong(shell, serial);
}

static const struct xdg_wm_base_listener shell_listener = {.ping = shell_ping};

static void global(void *data, struct wl_registry *registry, uint32_t name, const char *interface, uint32_t version) {
    struct desk *desk = data;
    (void)version;
    if (strcmp(interface, wl_compositor_interface.name) == 0)
        desk->compositor = wl_registry_bind(registry, name, &wl_compositor_interface, 4);
    else if (strcmp(interface, wl_shm_interface.name) == 0)
        desk->shm = wl_registry_bind(registry, name, &wl_shm_interface, 1);
    else if (strcmp(interface, xdg_wm_base_interface.name) == 0)
        desk->shell = wl_registry_bind(registry, name, &xdg_wm_base_interface, 1);
    else if (strcmp(interface, wp_viewporter_interface.name) == 0)
        desk->viewporter = wl_registry_bind(registry, name, &wp_viewporter_interface, 1);
    else if (strcmp(interface, wp_presentation_interface.name) == 0)
        desk->presentation = wl_registry_bind(registry, name, &wp_presentation_interface, 1);
}

static void global_remove(void *data, struct wl_registry *registry, uint32_t name) {
    (void)data, (void)registry, (void)name;
}

static const struct wl_registry_listener registry_listener = {.global = global, .global_remove = global_remove};

static void clock_id(void *data, struct wp_presentation *presentation, uint32_t clock) {
    (void)data, (void)presentation, (void)clock;
}

static const struct wp_presentation_listener presentation_listener = {.clock_id = clock_id};

void desk_connect(struct desk *desk) {
    struct wl_registry *registry;
    memset(desk, 0, sizeof *desk);
    desk->display = wl_display_connect(NULL);
    if (desk->display == NULL)
        fail("no compositor");
    registry = wl_display_get_registry(desk->display);
    wl_registry_add_listener(registry, &registry_listener, desk);
    if (wl_display_roundtrip(desk->display) < 0)
        fail("globals");
    if (!desk->compositor || !desk->shm || !desk->shell || !desk->viewporter || !desk->presentation) {
        errno = ENOTSUP;
        fail("the compositor lacks a global that is measured");
    }
    xdg_wm_base_add_listener(desk->shell, &shell_listener, desk);
    wp_presentation_add_listener(desk->presentation, &presentation_listener, desk);
}

static void shell_surface_configure(void *data, struct xdg_surface *shell_surface, uint32_t serial) {
    struct window *window = data;
    xdg_surface_ack_configure(shell_surface, serial);
    if (!window->is_configured) {
        window->is_configured = 1;
        window_configured(window);
    }
}

static const struct xdg_surface_listener shell_surface_listener = {.configure = shell_surface_configure};

static void toplevel_configure(
    void *data, struct xdg_toplevel *toplevel, int32_t width, int32_t height, struct wl_array *states) {
    (void)data, (void)toplevel, (void)width, (void)height, (void)states;
}

static void toplevel_close(void *data, struct xdg_toplevel *toplevel) { (void)data, (void)toplevel; }

static const struct xdg_toplevel_listener toplevel_listener = {
    .configure = toplevel_configure, .close = toplevel_close};

static void surface_output(void *data, struct wl_surface *surface, struct wl_output *output) {
    (void)data, (void)surface, (void)output;
}

static const struct wl_surface_listener surface_listener = {.enter = surface_output, .leave = surface_output};

void window_make(struct desk *desk, struct window *window, const char *title) {
    window->surface = wl_compositor_create_surface(desk->compositor);
    wl_surface_add_listener(window->surface, &surface_listener, window);
    window->viewport = wp_viewporter_get_viewport(desk->viewporter, window->surface);
    window->shell_surface = xdg_wm_base_get_xdg_surface(desk->shell, window->surface);
    xdg_surface_add_listener(window->shell_surface, &shell_surface_listener, window);
    window->toplevel = xdg_surface_get_toplevel(window->shell_surface);
    xdg_toplevel_add_listener(window->toplevel, &toplevel_listener, window);
    xdg_toplevel_set_title(window->toplevel, title);
    xdg_toplevel_set_app_id(window->toplevel, "bench");
    wl_surface_commit(window->surface);
}

static void buffer_release(void *data, struct wl_buffer *proxy) {
    struct buffer *buffer = data;
    (void)proxy;
    if (!buffer->is_held)
        return; /* its window went before */
    buffer->is_held = 0;
    buffer_released(buffer);
}

static const struct wl_buffer_listener buffer_listener = {.release = buffer_release};

void window_add_buffer(struct desk *desk, struct window *window, int index, int memory, uint32_t offset,
    int32_t width, int32_t height, int32_t stride, uint32_t format) {
    struct buffer *buffer = &window->buffers[index];
    struct wl_shm_pool *pool = wl_shm_create_pool(desk->shm, memory, (int32_t)offset + stride * height);
    buffer->window = window;
    buffer->proxy = wl_shm_pool_create_buffer(pool, (int32_t)offset, width, height, stride, format);
    wl_buffer_add_listener(buffer->proxy, &buffer_listener, buffer);
    wl_shm_pool_destroy(pool);
}

static void frame_done(void *data, struct wl_callback *callback, uint32_t time) {
    struct window *window = data;
    (void)time;
    wl_callback_destroy(callback);
    window->is_callback_pending = 0;
    window_ready(window);
}

static const struct wl_callback_listener frame_listener = {.done = frame_done};

static uint64_t take_outstanding(struct window *window) {
    uint64_t sequence = window->outstanding[window->first_outstanding];
    window->first_outstanding = (window->first_outstanding + 1) % 8;
    window->outstanding_count--;
    return sequence;
}

static void feedback_sync_output(void *data, struct wp_presentation_feedback *feedback, struct wl_output *output) {
    (void)data, (void)feedback, (void)output;
}

static void feedback_presented(void *data, struct wp_presentation_feedback *feedback, uint32_t seconds_high,
    uint32_t seconds_low, uint32_t nanoseconds, uint32_t refresh, uint32_t count_high, uint32_t count_low,
    uint32_t flags) {
    struct window *window = data;
    uint64_t seconds = (uint64_t)seconds_high << 32 | seconds_low;
    (void)count_high, (void)count_low;
    wp_presentation_feedback_destroy(feedback);
    window->presented++;
    window_presented(
        window, take_outstanding(window), seconds * 1000000000 + nanoseconds, refresh, flags, 0);
}

static void feedback_discarded(void *data, struct wp_presentation_feedback *feedback) {
    struct window *window = data;
    wp_presentation_feedback_destroy(feedback);
    window->discarded++;
    window_presented(window, take_outstanding(window), 0, 0, 0, 1);
}

static const struct wp_presentation_feedback_listener feedback_listener = {
    .sync_output = feedback_sync_output, .presented = feedback_presented, .discarded = feedback_discarded};

void window_commit(
    struct desk *desk, struct window *window, struct buffer *buffer, uint64_t sequence, const int32_t damage[4]) {
    struct wl_callback *callback;
    struct wp_presentation_feedback *feedback;
    if (window->outstanding_count == 8) {
        errno = EOVERFLOW;
        fail("presentation feedback lags by more than eight frames");
    }
    buffer->is_held = 1;
    buffer->sequence = sequence;
    wl_surface_attach(window->surface, buffer->proxy, 0, 0);
    wl_surface_damage_buffer(window->surface, damage[0], damage[1], damage[2], damage[3]);
    callback = wl_surface_frame(window->surface);
    wl_callback_add_listener(callback, &frame_listener, window);
    feedback = wp_presentation_feedback(desk->presentation, window->surface);
    wp_presentation_feedback_add_listener(feedback, &feedback_listener, window);
    wl_surface_commit(window->surface);
    window->outstanding[(window->first_outstanding + window->outstanding_count++) % 8] = sequence;
    window->is_callback_pending = 1;
    window->committed++;
}

int desk_epoll(struct desk *desk, int other) {
    struct epoll_event event = {.events = EPOLLIN};
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    event.data.fd = wl_display_get_fd(desk->display);
    if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, event.data.fd, &event) < 0)
        fail("epoll");
    event.data.fd = other;
    if (other >= 0 && epoll_ctl(epoll, EPOLL_CTL_ADD, other, &event) < 0)
        fail("epoll");
    return epoll;
}

int desk_turn(struct desk *desk, int epoll, int other) {
    struct epoll_event events[16];
    int is_display_readable = 0, is_other_readable = 0, display_descriptor = wl_display_get_fd(desk->display), count;
    while (wl_display_prepare_read(desk->display) != 0)
        if (wl_display_dispatch_pending(desk->display) < 0)
            fail("dispatch");
    if (wl_display_flush(desk->display) < 0)
        fail("flush");
    do
        count = epoll_wait(epoll, events, 16, -1);
    while (count < 0 && errno == EINTR);
    for (int index = 0; index < count; index++) {
        if (events[index].data.fd == other)
            is_other_readable = 1;
        else if (events[index].data.fd == display_descriptor)
            is_display_readable = 1;
    }
    if (is_display_readable) {
        if (wl_display_read_events(desk->display) < 0)
            fail("read");
    } else {
        wl_display_cancel_read(desk->display);
    }
    if (wl_display_dispatch_pending(desk->display) < 0)
        fail("dispatch");
    for (int index = 0; index < count; index++)
        if (events[index].data.fd != other && events[index].data.fd != display_descriptor)
            descriptor_ready(events[index].data.fd);
    return is_other_readable;
}
