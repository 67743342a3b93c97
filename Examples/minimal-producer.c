/* A whole producer from vm_bridge_source.h alone: one window with a moving gradient in two sealed memfds.
 * Usage: minimal-producer SOCKET [FRAMES]. Exits with 0 when all frames were sent and all uses have ended.
 * Sends may block here: with two buffers few records are under way, so the two ends never wait for each other. */
#define _GNU_SOURCE
#include "../Protocols/vm_bridge_source.h"
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { WINDOW = 1, BUFFERS = 2 };

struct buffer {
    uint64_t key;
    int uses; /* frames that name it and were not released: it may be written at 0 */
    uint32_t *pixels;
};

static struct buffer buffers[BUFFERS];
static uint32_t width = 640, height = 480;
static uint64_t last_key, last_sequence;
static int held, resized = 1, closing, started; /* held: uses of all buffers, replaced ones too */
static unsigned char room[8192], datagram[VMB_MAXIMUM_DATAGRAM];
static struct vmb_writer out;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static void flush(int bridge, int ended) { /* ended: what vmb_end said of the last record */
    if (ended < 0 || (vmb_send(bridge, &out, 0) < 0 && errno != EPIPE && errno != ECONNRESET))
        fail("send"); /* a bridge that hung up has said why: that is received below */
}

/* (Re)makes a buffer of the window's size; the old one, if held, is gone with its last release. */
static void make_buffer(int bridge, struct buffer *buffer) {
    struct vmb_buffer_create record;
    static size_t sizes[BUFFERS];
    size_t bytes = (size_t)width * height * 4, *size = &sizes[buffer - buffers];
    int memory = memfd_create("minimal-producer", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (memory < 0 || ftruncate(memory, (off_t)bytes) < 0 || fcntl(memory, F_ADD_SEALS, F_SEAL_SHRINK) < 0)
        fail("memfd");
    if (buffer->key != 0) {
        munmap(buffer->pixels, *size);
        vmb_put_bare(&out, VMB_RECORD_BUFFER_DESTROY, buffer->key);
    }
    buffer->key = ++last_key;
    buffer->uses = 0;
    *size = bytes;
    buffer->pixels = (uint32_t *)mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
    if (buffer->pixels == MAP_FAILED)
        fail("mmap");
    vmb_record_init(&record, sizeof record, VMB_RECORD_BUFFER_CREATE, buffer->key);
    record.width = width;
    record.height = height;
    record.fourcc = VMB_FOURCC_XRGB8888;
    record.modifier = VMB_MODIFIER_LINEAR;
    record.memory = VMB_MEMORY_MEMFD;
    record.plane_count = 1;
    record.planes[0].stride = width * 4; /* descriptor 0, offset 0 */
    vmb_begin(&out, &record, sizeof record);
    vmb_add_descriptor(&out, memory);
    flush(bridge, vmb_end(&out));
    close(memory);
}

static void draw(int bridge, struct buffer *buffer) {
    struct vmb_frame frame;
    uint32_t shift = (uint32_t)++last_sequence * 2;
    for (uint32_t y = 0; y < height; y++)
        for (uint32_t x = 0; x < width; x++)
            buffer->pixels[(size_t)y * width + x] = ((x + shift) & 255) << 16 | ((y + shift) & 255) << 8 | 96;
    vmb_record_init(&frame, sizeof frame, VMB_RECORD_FRAME, WINDOW);
    frame.buffer = buffer->key;
    frame.sequence = last_sequence; /* no damage field: all of it changed; acquire 0: it is complete */
    buffer->uses++;
    held++;
    flush(bridge, vmb_put(&out, &frame, sizeof frame));
}

static void handle(const struct vmb_record *record) {
    struct vmb_configure configure;
    struct vmb_refused refused;
    char sentence[512];
    if (record->type == VMB_RECORD_WELCOME) {
        started = 1;
    } else if (record->type == VMB_RECORD_RELEASED) {
        held--;
        for (int i = 0; i < BUFFERS; i++)
            if (buffers[i].key == record->object)
                buffers[i].uses--;
    } else if (record->type == VMB_RECORD_CONFIGURE && vmb_read(record, &configure, sizeof configure) == 0) {
        uint32_t w = configure.width > 0 ? configure.width : width; /* 0: our choice */
        uint32_t h = configure.height > 0 ? configure.height : height;
        resized |= w != width || h != height;
        width = w;
        height = h;
    } else if (record->type == VMB_RECORD_CLOSE) {
        closing = 1;
    } else if (record->type == VMB_RECORD_REFUSED && vmb_read(record, &refused, sizeof refused) == 0) {
        vmb_read_text(record, sizeof refused, VMB_FIELD_SENTENCE, sentence, sizeof sentence);
        fprintf(stderr, "refused (%u): %s\n", refused.reason, sentence);
        exit(1);
    } /* others: skipped */
}

int main(int count, char **arguments) {
    uint64_t frames = count > 2 ? strtoull(arguments[2], NULL, 10) : 120;
    struct vmb_surface_create surface;
    int destroyed = 0, bridge = count > 1 ? vmb_connect(arguments[1]) : -1;
    if (bridge < 0)
        fail(count > 1 ? arguments[1] : "usage: minimal-producer SOCKET [FRAMES]");
    vmb_writer_init(&out, room, sizeof room);
    vmb_put_hello(&out, "minimal-producer");
    vmb_record_init(&surface, sizeof surface, VMB_RECORD_SURFACE_CREATE, WINDOW);
    surface.role = VMB_ROLE_TOPLEVEL;
    vmb_begin(&out, &surface, sizeof surface);
    vmb_add_text(&out, VMB_FIELD_TITLE, "Hello from C");
    vmb_add_text(&out, VMB_FIELD_APP_ID, "minimal-producer");
    flush(bridge, vmb_end(&out));
    while (!destroyed || held > 0) { /* a frame every 16 ms for which a buffer is free */
        struct pollfd wait = {bridge, POLLIN, 0};
        struct vmb_reader in;
        struct vmb_record record;
        if (poll(&wait, 1, started && !destroyed ? 16 : -1) > 0) {
            if (vmb_receive(bridge, &in, datagram, sizeof datagram, 0) <= 0)
                fail("the bridge ended the connection");
            while (vmb_next(&in, &record) > 0)
                handle(&record);
            vmb_reader_close(&in);
        } else if (started && (closing || last_sequence >= frames)) { /* the end of the window ends every use */
            flush(bridge, vmb_put_bare(&out, VMB_RECORD_SURFACE_DESTROY, WINDOW));
            destroyed = 1;
        } else {
            for (int i = 0; resized && i < BUFFERS; i++)
                make_buffer(bridge, &buffers[i]);
            resized = 0;
            struct buffer *buffer = buffers[0].uses == 0 ? &buffers[0] : &buffers[1];
            if (buffer->uses == 0)
                draw(bridge, buffer);
        }
    }
    return 0;
}
