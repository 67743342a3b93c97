/* What the bare client and the bare proxy share: a connection to the compositor and plain windows with
 * wp_viewport and wp_presentation feedback, by libwayland and wayland-scanner's C code alone.
 * One steady frame is attach, damage_buffer, frame, feedback and commit.
 *
 * The program that includes it gives the five functions at the end their bodies. */
#ifndef BENCH_WINDOW_H
#define BENCH_WINDOW_H

#include "presentation-time-client-protocol.h"
#include "viewporter-client-protocol.h"
#include "xdg-shell-client-protocol.h"
#include <stdint.h>
#include <wayland-client.h>

enum { BENCH_BUFFERS = 3, BENCH_MOST_WINDOWS = 64 };

struct desk {
    struct wl_display *display;
    struct wl_compositor *compositor;
    struct wl_shm *shm;
    struct xdg_wm_base *shell;
    struct wp_viewporter *viewporter;
    struct wp_presentation *presentation;
};

struct window;

struct buffer {
    struct window *window;
    struct wl_buffer *proxy;
    uint64_t key;      /* the producer's name of it; the bare client has none */
    uint64_t sequence; /* of the frame that holds it */
    int is_held;       /* committed and not released */
    struct buffer_fences *fences; /* of fences.c, or NULL */
};

struct window {
    struct wl_surface *surface;
    struct xdg_surface *shell_surface;
    struct xdg_toplevel *toplevel;
    struct wp_viewport *viewport;
    struct buffer buffers[BENCH_BUFFERS];
    uint64_t key;
    int is_configured;
    int is_callback_pending;
    uint64_t committed; /* frames committed */
    uint64_t presented; /* frames presented */
    uint64_t discarded; /* frames discarded */
    /* Sequences of commits whose presentation is outstanding, oldest first. */
    uint64_t outstanding[8];
    unsigned first_outstanding, outstanding_count;
    /* The proxy's mailbox: a frame that waits for the frame callback. */
    struct buffer *pending;
    uint64_t pending_sequence;
    int32_t pending_damage[4];
    int is_waiting; /* for that frame's fence */
    struct window_fences *fences; /* of fences.c, or NULL */
};

/* Connects to WAYLAND_DISPLAY and binds all that is needed; ends the program when something is missing. */
void desk_connect(struct desk *desk);
/* Makes a toplevel without content; `window_configured` follows. */
void window_make(struct desk *desk, struct window *window, const char *title);
/* Makes a wl_buffer over a memfd, which stays the caller's. */
void window_add_buffer(struct desk *desk, struct window *window, int index, int memory, uint32_t offset,
    int32_t width, int32_t height, int32_t stride, uint32_t format);
/* One steady frame. */
void window_commit(
    struct desk *desk, struct window *window, struct buffer *buffer, uint64_t sequence, const int32_t damage[4]);
/* Waits for the compositor and whatever else `epoll` watches; dispatches what came and tells of other descriptors by
 * `descriptor_ready`. Returns whether `other` is readable, if it is a descriptor. */
int desk_turn(struct desk *desk, int epoll, int other);
/* An epoll descriptor that watches the compositor and, unless it is negative, `other`. */
int desk_epoll(struct desk *desk, int other);
/* Says what failed and ends the program. */
_Noreturn void fail(const char *what);

void descriptor_ready(int descriptor);
void window_configured(struct window *window);
void window_ready(struct window *window);
void buffer_released(struct buffer *buffer);
/* `time` in nanoseconds; a discarded frame has 0. */
void window_presented(
    struct window *window, uint64_t sequence, uint64_t time, uint32_t refresh, uint32_t flags, int is_discarded);

#endif
