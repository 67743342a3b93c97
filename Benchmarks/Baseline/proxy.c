/* The bare proxy: the least that any bridge must do. One producer of source-v1 on a SOCK_SEQPACKET socket; its
 * frames are committed to windows, RELEASED and PRESENTED go back, all that one wake-up brought in one datagram.
 * Nothing is checked beyond what keeps the program itself in order: no limits, no second producer.
 * Usage: proxy SOCKET [timelines|explicit|implicit|hold]. With a rung of the sync ladder the buffers are dma-bufs and
 * fences go that way; without, they are memfds and there are none. Ends when the producer hangs up. */
#define _GNU_SOURCE
#include "../../Protocols/vm_bridge_source.h"
#include "fences.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/un.h>

enum { MOST_BUFFERS = 256 };

static struct desk desk;
static enum rung rung;
static struct window windows[BENCH_MOST_WINDOWS];
static int window_count;
/* A producer's buffer: which window's it became is known from its first frame, so all are kept by key. */
static struct buffer *buffers[MOST_BUFFERS];
static unsigned char room[VMB_MAXIMUM_DATAGRAM], datagram[VMB_MAXIMUM_DATAGRAM];
static struct vmb_writer out;

static void put(const void *record, size_t bytes) {
    if (vmb_put(&out, record, bytes) < 0)
        fail("a datagram is full");
}

static void release(uint64_t buffer, uint64_t surface, uint64_t sequence, uint32_t outcome) {
    struct vmb_released released;
    vmb_record_init(&released, sizeof released, VMB_RECORD_RELEASED, buffer);
    released.surface = surface;
    released.sequence = sequence;
    released.outcome = outcome;
    put(&released, sizeof released);
}

void descriptor_ready(int descriptor) { fences_ready(descriptor); }

void buffer_released(struct buffer *buffer) {
    release(buffer->key, buffer->window->key, buffer->sequence, VMB_OUTCOME_SHOWN);
}

void window_presented(
    struct window *window, uint64_t sequence, uint64_t time, uint32_t refresh, uint32_t flags, int is_discarded) {
    if (is_discarded) {
        struct vmb_discarded discarded;
        vmb_record_init(&discarded, sizeof discarded, VMB_RECORD_DISCARDED, window->key);
        discarded.sequence = sequence;
        put(&discarded, sizeof discarded);
    } else {
        struct vmb_presented presented;
        vmb_record_init(&presented, sizeof presented, VMB_RECORD_PRESENTED, window->key);
        presented.sequence = sequence;
        presented.time = time;
        presented.refresh = refresh;
        presented.flags = flags;
        put(&presented, sizeof presented);
    }
}

void window_configured(struct window *window) {
    struct vmb_configure configure;
    vmb_record_init(&configure, sizeof configure, VMB_RECORD_CONFIGURE, window->key);
    configure.scale = 120;
    put(&configure, sizeof configure);
    window_ready(window);
}

/* Commits what waits in the mailbox, if the window can take it. */
void window_ready(struct window *window) {
    struct buffer *buffer = window->pending;
    if (buffer == NULL || window->is_waiting || !window->is_configured || window->is_callback_pending)
        return;
    window->pending = NULL;
    if (rung != RUNG_NONE)
        fences_prepare(window, buffer);
    window_commit(&desk, window, buffer, window->pending_sequence, window->pending_damage);
}

static struct window *find_window(uint64_t key) {
    for (int index = 0; index < window_count; index++)
        if (windows[index].key == key)
            return &windows[index];
    return NULL;
}

static void take_frame(const struct vmb_record *record) {
    struct vmb_frame frame;
    struct vmb_field_view field;
    struct vmb_rectangle rectangle = {0, 0, VMB_MAXIMUM_DIMENSION, VMB_MAXIMUM_DIMENSION};
    struct window *window = find_window(record->object);
    if (window == NULL || vmb_read(record, &frame, sizeof frame) < 0 || frame.buffer >= MOST_BUFFERS
        || buffers[frame.buffer] == NULL || buffers[frame.buffer]->window != window) {
        errno = EPROTO;
        fail("FRAME");
    }
    if (vmb_find_field(record, sizeof frame, VMB_FIELD_DAMAGE, &field) && field.length >= sizeof rectangle)
        memcpy(&rectangle, field.payload, sizeof rectangle);
    if (window->pending != NULL)
        release(window->pending->key, window->key, window->pending_sequence, VMB_OUTCOME_SUPERSEDED);
    window->pending = buffers[frame.buffer];
    window->pending_sequence = frame.sequence;
    window->pending_damage[0] = (int32_t)rectangle.x;
    window->pending_damage[1] = (int32_t)rectangle.y;
    window->pending_damage[2] = (int32_t)rectangle.width;
    window->pending_damage[3] = (int32_t)rectangle.height;
    if (rung != RUNG_NONE) {
        int fence = -1;
        if (frame.acquire == VMB_ACQUIRE_SYNC_FILE && record->descriptor_count == 1) {
            fence = record->descriptors[0];
            record->descriptors[0] = -1;
        }
        if (!fences_arrived(window, fence))
            return;
    }
    window_ready(window);
}

/* Buffers come behind the surface that they are for: three for each. */
static void take_buffer(const struct vmb_record *record) {
    struct vmb_buffer_create create;
    struct window *window = window_count > 0 ? &windows[window_count - 1] : NULL;
    int index = 0;
    if (window == NULL || vmb_read(record, &create, sizeof create) < 0 || create.header.object >= MOST_BUFFERS
        || record->descriptor_count != 1
        || create.memory != (rung == RUNG_NONE ? VMB_MEMORY_MEMFD : VMB_MEMORY_DMA_BUF)
        || create.fourcc != VMB_FOURCC_XRGB8888) {
        errno = EPROTO;
        fail("BUFFER_CREATE");
    }
    while (index < BENCH_BUFFERS && window->buffers[index].proxy != NULL)
        index++;
    if (index == BENCH_BUFFERS) {
        errno = EPROTO;
        fail("a fourth buffer");
    }
    if (rung == RUNG_NONE)
        window_add_buffer(&desk, window, index, record->descriptors[0], create.planes[0].offset,
            (int32_t)create.width, (int32_t)create.height, (int32_t)create.planes[0].stride, WL_SHM_FORMAT_XRGB8888);
    else
        fences_add_buffer(window, index, record->descriptors[0], create.planes[0].offset, (int32_t)create.width,
            (int32_t)create.height, create.planes[0].stride, create.fourcc);
    window->buffers[index].key = create.header.object;
    buffers[create.header.object] = &window->buffers[index];
}

static void take_surface(const struct vmb_record *record) {
    if (window_count == BENCH_MOST_WINDOWS) {
        errno = EPROTO;
        fail("SURFACE_CREATE");
    }
    windows[window_count].key = record->object;
    window_make(&desk, &windows[window_count++], "bench proxy");
}

/* The end of a window ends every hold on its buffers. */
static void take_destroy(const struct vmb_record *record) {
    struct window *window = find_window(record->object);
    if (window == NULL)
        return;
    xdg_toplevel_destroy(window->toplevel);
    xdg_surface_destroy(window->shell_surface);
    wp_viewport_destroy(window->viewport);
    wl_surface_destroy(window->surface);
    for (int index = 0; index < BENCH_BUFFERS; index++)
        if (window->buffers[index].is_held) {
            window->buffers[index].is_held = 0;
            buffer_released(&window->buffers[index]);
        }
}

static void greet(void) {
    struct vmb_welcome welcome;
    struct vmb_format format;
    memset(&format, 0, sizeof format);
    format.fourcc = VMB_FOURCC_XRGB8888;
    format.memory = rung == RUNG_NONE ? VMB_MEMORY_BIT_MEMFD : VMB_MEMORY_BIT_DMA_BUF;
    vmb_record_init(&welcome, sizeof welcome, VMB_RECORD_WELCOME, 1);
    welcome.version = VMB_VERSION;
    vmb_begin(&out, &welcome, sizeof welcome);
    vmb_add_field(&out, VMB_FIELD_FORMATS, 0, &format, sizeof format);
    if (vmb_end(&out) < 0)
        fail("WELCOME");
}

static void take(const struct vmb_record *record) {
    switch (record->type) {
    case VMB_RECORD_FRAME: take_frame(record); break;
    case VMB_RECORD_BUFFER_CREATE: take_buffer(record); break;
    case VMB_RECORD_SURFACE_CREATE: take_surface(record); break;
    case VMB_RECORD_SURFACE_DESTROY: take_destroy(record); break;
    case VMB_RECORD_HELLO: greet(); break;
    default: errno = EPROTO; fail("a record of another type");
    }
}

static int accept_producer(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), producer;
    if (strlen(path) >= sizeof address.sun_path) {
        errno = ENAMETOOLONG;
        fail(path);
    }
    strcpy(address.sun_path, path);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) < 0 || listen(listener, 1) < 0)
        fail(path);
    producer = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (producer < 0)
        fail("accept");
    close(listener);
    return producer;
}

int main(int count, char **arguments) {
    struct vmb_reader in;
    struct vmb_record record;
    int producer, epoll, answer = 1;
    if (count != 2 && count != 3) {
        fprintf(stderr, "usage: proxy SOCKET [timelines|explicit|implicit|hold]\n");
        return 64;
    }
    desk_connect(&desk);
    vmb_writer_init(&out, room, sizeof room);
    producer = accept_producer(arguments[1]);
    epoll = desk_epoll(&desk, producer);
    if (count == 3)
        fences_connect(&desk, rung = fences_rung(arguments[2]), epoll);
    while (answer > 0) {
        if (desk_turn(&desk, epoll, producer)) {
            answer = vmb_receive(producer, &in, datagram, sizeof datagram, MSG_DONTWAIT);
            if (answer < 0)
                fail("receive");
            while (answer > 0 && vmb_next(&in, &record) > 0)
                take(&record);
            vmb_reader_close(&in);
        }
        if (answer > 0 && vmb_send(producer, &out, MSG_DONTWAIT) < 0) {
            if (errno != EPIPE)
                fail("send");
            answer = 0;
        }
    }
    uint64_t committed = 0, presented = 0, discarded = 0;
    for (int index = 0; index < window_count; index++) {
        committed += windows[index].committed;
        presented += windows[index].presented;
        discarded += windows[index].discarded;
    }
    printf("committed %llu presented %llu discarded %llu held %llu\n", (unsigned long long)committed,
        (unsigned long long)presented, (unsigned long long)discarded, (unsigned long long)fences_held());
    wl_display_disconnect(desk.display);
    return 0;
}
