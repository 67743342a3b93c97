/* The producer that feeds the bare proxy and the bridge alike; it is not measured itself.
 * Usage: feeder SOCKET SURFACES FRAMES [SIDE]. Sends exactly FRAMES frames for each surface, each after the one
 * before was presented (or discarded), so that none is superseded; frames that can go together go in one datagram.
 * Then destroys the surfaces, waits for the end of every use and prints what it was told. A use that ends twice or
 * with another outcome than "shown", and a refusal, end it with status 1. */
#define _GNU_SOURCE
#include "../../Protocols/vm_bridge_source.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

enum { BUFFERS = 3, MOST_SURFACES = 64 };

struct surface {
    uint64_t sent;                /* frames so far; the last one's sequence */
    uint64_t seen;                /* presented or discarded */
    uint64_t holds[BUFFERS];      /* sequence of the frame that holds a buffer, or 0 */
};

static struct surface surfaces[MOST_SURFACES];
static int surface_count, has_formats;
static uint64_t frames, presented, discarded, released;
static uint32_t side = 64;
static unsigned char room[VMB_MAXIMUM_DATAGRAM], datagram[VMB_MAXIMUM_DATAGRAM];
static struct vmb_writer out;

static _Noreturn void fail(const char *what) {
    fprintf(stderr, "feeder: %s: %s\n", what, strerror(errno));
    exit(1);
}

static _Noreturn void accuse(const char *what, uint64_t number) {
    fprintf(stderr, "feeder: %s (%llu)\n", what, (unsigned long long)number);
    exit(1);
}

static int connect_patiently(const char *path) {
    const struct timespec pause = {.tv_nsec = 20000000};
    for (int tries = 0; tries < 1500; tries++) {
        int bridge = vmb_connect(path);
        if (bridge >= 0)
            return bridge;
        if (errno != ENOENT && errno != ECONNREFUSED)
            break;
        nanosleep(&pause, NULL);
    }
    fail(path);
}

static uint64_t buffer_key(int surface, int index) { return (uint64_t)(surface * BUFFERS + index + 1); }

static void create_surface(int number) {
    struct vmb_surface_create create;
    vmb_record_init(&create, sizeof create, VMB_RECORD_SURFACE_CREATE, (uint64_t)number + 1);
    create.role = VMB_ROLE_TOPLEVEL;
    vmb_begin(&out, &create, sizeof create);
    vmb_add_text(&out, VMB_FIELD_TITLE, "bench feeder");
    vmb_add_text(&out, VMB_FIELD_APP_ID, "bench");
    if (vmb_end(&out) < 0)
        fail("SURFACE_CREATE");
}

static int add_buffer(int surface, int index) {
    struct vmb_buffer_create create;
    size_t bytes = (size_t)side * side * 4;
    /* The name is what the runner looks for among a daemon's descriptors. */
    int memory = memfd_create("bench-pixels", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (memory < 0 || ftruncate(memory, (off_t)bytes) < 0 || fcntl(memory, F_ADD_SEALS, F_SEAL_SHRINK) < 0)
        fail("memfd");
    vmb_record_init(&create, sizeof create, VMB_RECORD_BUFFER_CREATE, buffer_key(surface, index));
    create.width = create.height = side;
    create.fourcc = VMB_FOURCC_XRGB8888;
    create.modifier = VMB_MODIFIER_LINEAR;
    create.memory = VMB_MEMORY_MEMFD;
    create.plane_count = 1;
    create.planes[0].stride = side * 4;
    vmb_begin(&out, &create, sizeof create);
    vmb_add_descriptor(&out, memory);
    if (vmb_end(&out) < 0)
        fail("BUFFER_CREATE");
    return memory;
}

static void create_all(int bridge) {
    for (int number = 0; number < surface_count; number++) {
        int memories[BUFFERS];
        create_surface(number);
        for (int index = 0; index < BUFFERS; index++)
            memories[index] = add_buffer(number, index);
        if (vmb_send(bridge, &out, 0) < 0)
            fail("send");
        for (int index = 0; index < BUFFERS; index++)
            close(memories[index]);
    }
}

/* The next frame of a surface, if it is its turn and a buffer is free. */
static void show_next(int number) {
    struct surface *surface = &surfaces[number];
    struct vmb_frame frame;
    struct vmb_rectangle damage = {0, 0, side, side};
    int index = 0;
    if (surface->sent == frames || surface->seen < surface->sent)
        return;
    while (index < BUFFERS && surface->holds[index] != 0)
        index++;
    if (index == BUFFERS)
        return; /* a release is on its way */
    surface->holds[index] = ++surface->sent;
    vmb_record_init(&frame, sizeof frame, VMB_RECORD_FRAME, (uint64_t)number + 1);
    frame.buffer = buffer_key(number, index);
    frame.sequence = surface->sent;
    vmb_begin(&out, &frame, sizeof frame);
    vmb_add_field(&out, VMB_FIELD_DAMAGE, 0, &damage, sizeof damage);
    if (vmb_end(&out) < 0)
        fail("FRAME");
}

static struct surface *find(uint64_t key) {
    if (key < 1 || key > (uint64_t)surface_count)
        accuse("a record for a surface that is not ours", key);
    return &surfaces[key - 1];
}

static void take_released(const struct vmb_record *record) {
    struct vmb_released ended;
    if (vmb_read(record, &ended, sizeof ended) < 0)
        fail("RELEASED");
    struct surface *surface = find(ended.surface);
    uint64_t index = (record->object - 1) % BUFFERS;
    if (surface->holds[index] != ended.sequence || ended.sequence == 0)
        accuse("a use ended that had not begun, or had ended", ended.sequence);
    if (ended.outcome != VMB_OUTCOME_SHOWN)
        accuse("a use ended with another outcome than shown", ended.outcome);
    surface->holds[index] = 0;
    released++;
}

static void take_seen(const struct vmb_record *record, uint64_t *counter) {
    struct vmb_discarded seen; /* PRESENTED begins alike */
    if (vmb_read(record, &seen, sizeof seen) < 0)
        fail("PRESENTED");
    struct surface *surface = find(record->object);
    if (seen.sequence != surface->seen + 1 || seen.sequence > surface->sent)
        accuse("presented out of order", seen.sequence);
    surface->seen = seen.sequence;
    ++*counter;
}

static void take(const struct vmb_record *record) {
    struct vmb_field_view field;
    struct vmb_refused refused;
    char sentence[256];
    switch (record->type) {
    case VMB_RECORD_WELCOME:
        has_formats = vmb_find_field(record, sizeof(struct vmb_welcome), VMB_FIELD_FORMATS, &field)
            && field.length > 0;
        break;
    case VMB_RECORD_FORMATS_CHANGED:
        if (record->object != 0) /* one surface's preference */
            break;
        has_formats = vmb_find_field(record, sizeof(struct vmb_header), VMB_FIELD_FORMATS, &field) && field.length > 0;
        break;
    case VMB_RECORD_RELEASED: take_released(record); break;
    case VMB_RECORD_PRESENTED: take_seen(record, &presented); break;
    case VMB_RECORD_DISCARDED: take_seen(record, &discarded); break;
    case VMB_RECORD_REFUSED:
        memset(&refused, 0, sizeof refused);
        (void)vmb_read(record, &refused, sizeof refused);
        vmb_read_text(record, sizeof refused, VMB_FIELD_SENTENCE, sentence, sizeof sentence);
        fprintf(stderr, "feeder: refused: %s\n", sentence);
        accuse("reason", refused.reason);
    default: break; /* CONFIGURE: the size stays */
    }
}

static void receive(int bridge) {
    struct vmb_reader in;
    struct vmb_record record;
    int answer = vmb_receive(bridge, &in, datagram, sizeof datagram, 0);
    if (answer == 0)
        errno = ECONNRESET;
    if (answer <= 0)
        fail("receive");
    while (vmb_next(&in, &record) > 0)
        take(&record);
    vmb_reader_close(&in);
}

int main(int count, char **arguments) {
    int bridge, is_over = 0;
    surface_count = count > 3 ? atoi(arguments[2]) : 0;
    frames = count > 3 ? strtoull(arguments[3], NULL, 10) : 0;
    if (count > 4)
        side = (uint32_t)atoi(arguments[4]);
    if (surface_count < 1 || surface_count > MOST_SURFACES || frames < 1 || side < 1) {
        fprintf(stderr, "usage: feeder SOCKET SURFACES FRAMES [SIDE]\n");
        return 64;
    }
    bridge = connect_patiently(arguments[1]);
    vmb_writer_init(&out, room, sizeof room);
    if (vmb_put_hello(&out, "bench feeder") < 0 || vmb_send(bridge, &out, 0) < 0)
        fail("HELLO");
    while (!has_formats)
        receive(bridge);
    create_all(bridge);
    while (!is_over) {
        is_over = 1;
        for (int number = 0; number < surface_count; number++) {
            show_next(number);
            is_over = is_over && surfaces[number].seen == frames;
        }
        if (vmb_send(bridge, &out, 0) < 0)
            fail("send");
        if (!is_over)
            receive(bridge);
    }
    for (int number = 0; number < surface_count; number++)
        if (vmb_put_bare(&out, VMB_RECORD_SURFACE_DESTROY, (uint64_t)number + 1) < 0)
            fail("SURFACE_DESTROY");
    if (vmb_send(bridge, &out, 0) < 0)
        fail("send");
    while (released < frames * (uint64_t)surface_count)
        receive(bridge);
    printf("presented %llu discarded %llu released %llu\n", (unsigned long long)presented,
        (unsigned long long)discarded, (unsigned long long)released);
    return 0;
}
