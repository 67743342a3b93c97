/*
 * vm_bridge_source.h - the vm-bridge source protocol, version 1, for producers and consumers in C11 and C++17.
 *
 * Header only, no allocation, nothing beyond libc, one thread at a time for each writer and reader. The
 * contract is source-v1.md; the section numbers below are its sections. A structure holds a whole record
 * without its fields: header and body at the offsets of the document's tables.
 *
 * Sending: records are gathered in a buffer of yours and leave as one datagram.
 *
 *     unsigned char room[4096];
 *     struct vmb_writer out;
 *     vmb_writer_init(&out, room, sizeof room);
 *
 *     struct vmb_surface_create surface;
 *     vmb_record_init(&surface, sizeof surface, VMB_RECORD_SURFACE_CREATE, key);
 *     surface.role = VMB_ROLE_TOPLEVEL;
 *     vmb_begin(&out, &surface, sizeof surface);
 *     vmb_add_text(&out, VMB_FIELD_TITLE, "Hello");
 *     vmb_end(&out);
 *     if (vmb_send(socket, &out, 0) < 0) ...
 *
 * Receiving: a datagram is read whole and its records are walked.
 *
 *     unsigned char datagram[VMB_MAXIMUM_DATAGRAM];
 *     struct vmb_reader in;
 *     struct vmb_record record;
 *     if (vmb_receive(socket, &in, datagram, sizeof datagram, 0) > 0)
 *         while (vmb_next(&in, &record) > 0)
 *             if (record.type == VMB_RECORD_RELEASED) {
 *                 struct vmb_released released;
 *                 if (vmb_read(&record, &released, sizeof released) == 0) ...
 *             }
 *     vmb_reader_close(&in);
 */
#ifndef VM_BRIDGE_SOURCE_H
#define VM_BRIDGE_SOURCE_H

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#if !defined(__BYTE_ORDER__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "These structures are the bytes of the wire on little-endian machines only."
#endif

#ifdef __cplusplus
#define VMB_STATIC_ASSERT(condition, sentence) static_assert(condition, sentence)
extern "C" {
#else
#define VMB_STATIC_ASSERT(condition, sentence) _Static_assert(condition, sentence)
#endif

/* Numbers of the protocol that are no record's or field's (§2, §3, §5). */
enum vmb_protocol {
    VMB_MAGIC = 0x31424d56,
    VMB_VERSION = 1,
    VMB_HEADER_BYTES = 16,
    VMB_FIELD_HEADER_BYTES = 8,
    VMB_MAXIMUM_DATAGRAM = 65536,
    VMB_MAXIMUM_DESCRIPTORS = 16,
    VMB_MAXIMUM_FIELDS = 16,
    VMB_MAXIMUM_TEXT = 4096,
    VMB_MAXIMUM_DAMAGE = 64,
    VMB_MAXIMUM_FORMATS = 1024,
    VMB_MAXIMUM_TARGETS = 64,
    VMB_MAXIMUM_KEYMAP = 1048576,
    VMB_MAXIMUM_CURSOR = 256,
    VMB_MAXIMUM_DIMENSION = 16384,
    VMB_MAXIMUM_TARGET_TIME = 1000000000
};

/* Record types (§5, §6). Those marked "reserved" are answered with VMB_REFUSAL_UNSUPPORTED. */
enum vmb_record_type {
    VMB_RECORD_HELLO = 0x0001,
    VMB_RECORD_BUFFER_CREATE = 0x0010,
    VMB_RECORD_BUFFER_DESTROY = 0x0011,
    VMB_RECORD_BUFFER_ALLOCATE = 0x0012,
    VMB_RECORD_SURFACE_CREATE = 0x0020,
    VMB_RECORD_SURFACE_UPDATE = 0x0021,
    VMB_RECORD_SURFACE_DESTROY = 0x0022,
    VMB_RECORD_FRAME = 0x0030,
    VMB_RECORD_FENCE_SIGNAL = 0x0031,
    VMB_RECORD_TARGETS_QUERY = 0x0040,
    VMB_RECORD_CLIPBOARD_OFFER = 0x0050,   /* reserved */
    VMB_RECORD_CLIPBOARD_REQUEST = 0x0051, /* reserved */

    VMB_RECORD_WELCOME = 0x8001,
    VMB_RECORD_FORMATS_CHANGED = 0x8002,
    VMB_RECORD_BUDGET = 0x8003, /* reserved */
    VMB_RECORD_RELEASED = 0x8010,
    VMB_RECORD_ALLOCATED = 0x8011,
    VMB_RECORD_CONFIGURE = 0x8020,
    VMB_RECORD_CLOSE = 0x8021,
    VMB_RECORD_PRESENTED = 0x8030,
    VMB_RECORD_DISCARDED = 0x8031,
    VMB_RECORD_TARGETS = 0x8040,
    VMB_RECORD_CLIPBOARD = 0x8050, /* reserved */
    VMB_RECORD_INPUT = 0x8060,
    VMB_RECORD_KEYMAP = 0x8061,
    VMB_RECORD_REFUSED = 0x80f0
};

/* Field tags that have a meaning in version 1 (§5.4 has the reserved ones too). */
enum vmb_field_tag {
    VMB_FIELD_VM_NAME = 0x0101,
    VMB_FIELD_PRODUCER_NAME = 0x0102,
    VMB_FIELD_CONSUMER_TAG = 0x0105,
    VMB_FIELD_CONNECTION_ROLE = 0x010a,
    VMB_FIELD_TARGETS = 0x010b,
    VMB_FIELD_ORIGIN_VM = 0x010c,
    VMB_FIELD_PARENT = 0x0201,
    VMB_FIELD_CURSOR_HOT_SPOT = 0x0205,
    VMB_FIELD_TITLE = 0x0301,
    VMB_FIELD_APP_ID = 0x0302,
    VMB_FIELD_SENTENCE = 0x0305,
    VMB_FIELD_ALLOCATION = 0x0402,
    VMB_FIELD_ALLOCATOR = 0x0403,
    VMB_FIELD_CROP = 0x0501,
    VMB_FIELD_DESTINATION = 0x0502,
    VMB_FIELD_TRANSFORM = 0x0504,
    VMB_FIELD_OPAQUE_REGION = 0x0505,
    VMB_FIELD_SIZE_LIMITS = 0x0507,
    VMB_FIELD_DAMAGE = 0x0601,
    VMB_FIELD_TARGET_TIME = 0x0701,
    VMB_FIELD_ACQUIRE_POINT = 0x0801,
    VMB_FIELD_RELEASE_WANTED = 0x0802,
    VMB_FIELD_ACQUIRE_WANTED = 0x0806,
    VMB_FIELD_INPUT_WANTED = 0x0906,
    VMB_FIELD_FORMATS = 0x0b01
};

/* Flags of a field (§3.2). */
enum vmb_field_flag { VMB_FIELD_REQUIRED = 1 };

/* Reasons of a REFUSED (§7). Below VMB_REFUSAL_UNSUPPORTED the connection has ended. */
enum vmb_refusal {
    VMB_REFUSAL_BUSY = 1,
    VMB_REFUSAL_VERSION = 2,
    VMB_REFUSAL_NOT_GREETED = 3,
    VMB_REFUSAL_MALFORMED = 4,
    VMB_REFUSAL_TRUNCATED = 5,
    VMB_REFUSAL_DESCRIPTOR_COUNT = 6,
    VMB_REFUSAL_UNSUPPORTED = 16,
    VMB_REFUSAL_BAD_VALUE = 17,
    VMB_REFUSAL_BAD_FIELD = 18,
    VMB_REFUSAL_UNKNOWN_OBJECT = 19,
    VMB_REFUSAL_ID_IN_USE = 20,
    VMB_REFUSAL_BAD_SEQUENCE = 21,
    VMB_REFUSAL_BAD_DESCRIPTOR = 22,
    VMB_REFUSAL_BAD_SEALS = 23,
    VMB_REFUSAL_BAD_ACCESS = 24,
    VMB_REFUSAL_BAD_FORMAT = 25,
    VMB_REFUSAL_BAD_MODIFIER = 26,
    VMB_REFUSAL_BAD_LAYOUT = 27,
    VMB_REFUSAL_TOO_MANY_SURFACES = 28,
    VMB_REFUSAL_TOO_MANY_BUFFERS = 29,
    VMB_REFUSAL_TOO_MANY_BYTES = 30,
    VMB_REFUSAL_FENCE_TIMEOUT = 31,
    VMB_REFUSAL_FENCE_FAILED = 32,
    VMB_REFUSAL_IMPORT_FAILED = 33,
    VMB_REFUSAL_NOT_ROUTED = 34,
    VMB_REFUSAL_UNUSED_DESCRIPTOR = 35,
    VMB_REFUSAL_NO_CONTIGUOUS = 36
};

/* What a buffer's descriptors are (§5.2), and the bit of it in `memory_kinds` and a format's `memory`. */
enum vmb_memory {
    VMB_MEMORY_DMA_BUF = 1,
    VMB_MEMORY_MEMFD = 2,
    VMB_MEMORY_BIT_DMA_BUF = 1,
    VMB_MEMORY_BIT_MEMFD = 2
};

/* A further bit of a format's `memory` (§5.1). */
enum vmb_format_flag { VMB_FORMAT_SCANOUT = 256 };

/* Flags of BUFFER_CREATE (§5.2). */
enum vmb_buffer_flag { VMB_BUFFER_BOTTOM_UP = 1 };

/* What the program at the other end of a connection is (§5.1). */
enum vmb_connection { VMB_CONNECTION_PRODUCER = 1, VMB_CONNECTION_CONSUMER = 2 };

/* What a surface is (§5.2). 2 and 3 are reserved. */
enum vmb_role { VMB_ROLE_TOPLEVEL = 1, VMB_ROLE_POPUP = 2, VMB_ROLE_SUBSURFACE = 3, VMB_ROLE_CURSOR = 4 };

/* Kinds of content (§5.2). */
enum vmb_content { VMB_CONTENT_GRAPHICS = 0, VMB_CONTENT_OTHER = 1 };

/* What a frame waits for (§5.3). 1 and 3 work where WELCOME says so. */
enum vmb_acquire {
    VMB_ACQUIRE_NONE = 0,
    VMB_ACQUIRE_IMPLICIT = 1,
    VMB_ACQUIRE_SYNC_FILE = 2,
    VMB_ACQUIRE_TIMELINE_POINT = 3,
    VMB_ACQUIRE_MESSAGE = 4
};

/* Status of a FENCE_SIGNAL (§5.3). */
enum vmb_fence { VMB_FENCE_DONE = 0, VMB_FENCE_ERROR = 1 };

/* How a use of a buffer ended (§6.1). */
enum vmb_outcome {
    VMB_OUTCOME_SHOWN = 1,
    VMB_OUTCOME_SUPERSEDED = 2,
    VMB_OUTCOME_REFUSED = 3,
    VMB_OUTCOME_LOST = 4
};

/* Flags of CONFIGURE (§6.2). */
enum vmb_configure_flag { VMB_CONFIGURE_WANTS_FRAME = 1 };

/* Bits of CONFIGURE's `states` (§6.2). */
enum vmb_state {
    VMB_STATE_MAXIMIZED = 1 << 1,
    VMB_STATE_FULLSCREEN = 1 << 2,
    VMB_STATE_RESIZING = 1 << 3,
    VMB_STATE_ACTIVATED = 1 << 4,
    VMB_STATE_TILED_LEFT = 1 << 5,
    VMB_STATE_TILED_RIGHT = 1 << 6,
    VMB_STATE_TILED_TOP = 1 << 7,
    VMB_STATE_TILED_BOTTOM = 1 << 8,
    VMB_STATE_SUSPENDED = 1 << 9
};

/* What happened in an INPUT (§6.4), and which of `detail` and the four places it uses. Places are signed, in 1/256 of a
 * pixel: cast to int32_t. Kinds that are not here are to be skipped. */
enum vmb_input_kind {
    VMB_INPUT_KEYBOARD_ENTER = 1,
    VMB_INPUT_KEYBOARD_LEAVE = 2,
    VMB_INPUT_KEY = 3,            /* detail: KEY_ code; a: 1 down, 0 up */
    VMB_INPUT_MODIFIERS = 4,      /* a: depressed, b: latched, c: locked, d: group */
    VMB_INPUT_POINTER_ENTER = 5,  /* a: x, b: y */
    VMB_INPUT_POINTER_LEAVE = 6,
    VMB_INPUT_POINTER_MOTION = 7, /* a: x, b: y */
    VMB_INPUT_BUTTON = 8,         /* detail: BTN_ code; a: 1 down, 0 up */
    VMB_INPUT_AXIS = 9,           /* detail: axis; a: distance, b: notches times 120, both signed */
    VMB_INPUT_AXIS_STOP = 10,     /* detail: axis */
    VMB_INPUT_FRAME = 11,
    VMB_INPUT_TOUCH_DOWN = 12,    /* detail: finger; a: x, b: y */
    VMB_INPUT_TOUCH_MOTION = 13,  /* detail: finger; a: x, b: y */
    VMB_INPUT_TOUCH_UP = 14,      /* detail: finger */
    VMB_INPUT_TOUCH_CANCEL = 15
};

/* Axes of VMB_INPUT_AXIS and VMB_INPUT_AXIS_STOP (§6.4). */
enum vmb_axis { VMB_AXIS_VERTICAL = 0, VMB_AXIS_HORIZONTAL = 1 };

/* Formats of a KEYMAP (§6.4). */
enum vmb_keymap_format { VMB_KEYMAP_NONE = 0, VMB_KEYMAP_XKB_V1 = 1 };

/* Common pixel formats; all others of drm_fourcc.h have the same numbers here. */
enum vmb_fourcc {
    VMB_FOURCC_XRGB8888 = 0x34325258, /* in memory: blue, green, red, ignored */
    VMB_FOURCC_ARGB8888 = 0x34325241, /* in memory: blue, green, red, alpha */
    VMB_FOURCC_XBGR8888 = 0x34324258, /* in memory: red, green, blue, ignored */
    VMB_FOURCC_ABGR8888 = 0x34324241, /* in memory: red, green, blue, alpha */
    VMB_FOURCC_NV12 = 0x3231564e
};

/* The modifier of memory that is row after row. */
#define VMB_MODIFIER_LINEAR UINT64_C(0)

/* The header of every record (§3.1). `descriptors` and `length` are filled by vmb_end. */
struct vmb_header {
    uint16_t type;
    uint16_t descriptors;
    uint32_t length;
    uint64_t object;
};

/* The header of every field (§3.2). */
struct vmb_field {
    uint16_t tag;
    uint16_t flags;
    uint32_t length;
};

/* Payload of VMB_FIELD_CROP, VMB_FIELD_OPAQUE_REGION and, as a list, VMB_FIELD_DAMAGE (§5.4). */
struct vmb_rectangle {
    uint32_t x;
    uint32_t y;
    uint32_t width;
    uint32_t height;
};

/* Payload of VMB_FIELD_DESTINATION (§5.4). */
struct vmb_size {
    uint32_t width;
    uint32_t height;
};

/* Payload of VMB_FIELD_SIZE_LIMITS (§5.4); 0 is no limit. */
struct vmb_size_limits {
    uint32_t smallest_width;
    uint32_t smallest_height;
    uint32_t largest_width;
    uint32_t largest_height;
};

/* Payload of VMB_FIELD_CURSOR_HOT_SPOT (§5.4). */
struct vmb_hot_spot {
    uint32_t x;
    uint32_t y;
};

/* An entry of VMB_FIELD_FORMATS (§5.1). In FORMATS_CHANGED with an object other than 0 the list says what suits that surface best. */
struct vmb_format {
    uint32_t fourcc;
    uint32_t memory; /* bit set */
    uint64_t modifier;
    uint64_t device;
};

/* A plane of a buffer (§5.2). */
struct vmb_plane {
    uint32_t descriptor; /* as vmb_add_descriptor returned it */
    uint32_t offset;
    uint32_t stride;
    uint32_t zero;
};

/* VMB_RECORD_HELLO (§5.1). */
struct vmb_hello {
    struct vmb_header header;
    uint32_t magic;
    uint16_t lowest;
    uint16_t highest;
};

/* VMB_RECORD_WELCOME (§5.1). */
struct vmb_welcome {
    struct vmb_header header; /* object: generation */
    uint32_t version;
    uint32_t memory_kinds;
    uint32_t acquire_kinds;
    uint32_t release_kinds;
    uint32_t surfaces;
    uint32_t buffers;
    uint64_t bytes;
    uint32_t dimension;
    uint32_t datagram;
    uint32_t datagram_descriptors;
    uint32_t fence_limit; /* milliseconds */
    uint32_t rate;
    uint32_t surface_rate;
    uint32_t buffer_uses;
    uint32_t zero;
};

/* VMB_RECORD_BUFFER_CREATE (§5.2). */
struct vmb_buffer_create {
    struct vmb_header header;
    uint32_t width;
    uint32_t height;
    uint32_t fourcc;
    uint32_t flags;
    uint64_t modifier;
    uint32_t memory;
    uint32_t plane_count;
    struct vmb_plane planes[4];
};

/* VMB_RECORD_BUFFER_ALLOCATE (§5.2). */
struct vmb_buffer_allocate {
    struct vmb_header header;
    uint32_t width;
    uint32_t height;
    uint32_t fourcc;
    uint32_t flags; /* bit 0: contiguous */
    uint64_t zero;
};

/* VMB_RECORD_ALLOCATED (§5.2). */
struct vmb_allocated {
    struct vmb_header header; /* object: buffer */
    uint32_t width;
    uint32_t height;
    uint32_t fourcc;
    uint32_t flags;
    uint64_t modifier;
    uint32_t memory;
    uint32_t plane_count;
    struct vmb_plane planes[4];
};

/* VMB_RECORD_SURFACE_CREATE (§5.2). */
struct vmb_surface_create {
    struct vmb_header header;
    uint32_t role;
    uint32_t content;
};

/* VMB_RECORD_FRAME (§5.3). */
struct vmb_frame {
    struct vmb_header header;
    uint64_t buffer;
    uint64_t sequence;
    uint32_t acquire;
    uint32_t flags;
};

/* VMB_RECORD_FENCE_SIGNAL (§5.3). */
struct vmb_fence_signal {
    struct vmb_header header;
    uint64_t sequence;
    uint32_t status;
    uint32_t zero;
};

/* VMB_RECORD_RELEASED (§6.1). */
struct vmb_released {
    struct vmb_header header; /* object: buffer */
    uint64_t surface;
    uint64_t sequence;
    uint32_t outcome;
    uint32_t fence; /* 1: the record's descriptor is a sync_file, which ends the use */
};

/* VMB_RECORD_CONFIGURE (§6.2). */
struct vmb_configure {
    struct vmb_header header;
    uint32_t width;
    uint32_t height;
    uint32_t scale; /* times 120 */
    uint32_t states;
    uint32_t flags;
    uint32_t zero;
};

/* VMB_RECORD_PRESENTED (§6.3). */
struct vmb_presented {
    struct vmb_header header;
    uint64_t sequence;
    uint64_t time; /* the host's CLOCK_MONOTONIC, nanoseconds */
    uint64_t latency;
    uint32_t refresh;
    uint32_t flags;
};

/* VMB_RECORD_DISCARDED (§6.3). */
struct vmb_discarded {
    struct vmb_header header;
    uint64_t sequence;
};

/* VMB_RECORD_INPUT (§6.4). */
struct vmb_input {
    struct vmb_header header; /* object: surface */
    uint32_t kind;
    uint32_t detail;
    uint64_t time; /* the host's CLOCK_MONOTONIC, nanoseconds */
    uint32_t a;
    uint32_t b;
    uint32_t c;
    uint32_t d;
};

/* VMB_RECORD_KEYMAP (§6.4). The descriptor is to be mapped with MAP_PRIVATE. */
struct vmb_keymap {
    struct vmb_header header;
    uint32_t format;
    uint32_t size;
    uint32_t repeat_rate;
    uint32_t repeat_delay; /* milliseconds */
};

/* VMB_RECORD_REFUSED (§7). */
struct vmb_refused {
    struct vmb_header header; /* object: that of the refused record */
    uint16_t type;
    uint16_t reason;
    uint32_t zero;
    uint64_t sequence;
};

VMB_STATIC_ASSERT(sizeof(struct vmb_header) == VMB_HEADER_BYTES, "header");
VMB_STATIC_ASSERT(offsetof(struct vmb_header, length) == 4, "header.length");
VMB_STATIC_ASSERT(offsetof(struct vmb_header, object) == 8, "header.object");
VMB_STATIC_ASSERT(sizeof(struct vmb_field) == VMB_FIELD_HEADER_BYTES, "field");
VMB_STATIC_ASSERT(offsetof(struct vmb_field, length) == 4, "field.length");
VMB_STATIC_ASSERT(sizeof(struct vmb_rectangle) == 16, "rectangle");
VMB_STATIC_ASSERT(sizeof(struct vmb_size) == 8, "size");
VMB_STATIC_ASSERT(sizeof(struct vmb_size_limits) == 16, "size_limits");
VMB_STATIC_ASSERT(sizeof(struct vmb_hot_spot) == 8, "hot_spot");
VMB_STATIC_ASSERT(sizeof(struct vmb_format) == 24, "format");
VMB_STATIC_ASSERT(offsetof(struct vmb_format, modifier) == 8, "format.modifier");
VMB_STATIC_ASSERT(sizeof(struct vmb_plane) == 16, "plane");
VMB_STATIC_ASSERT(sizeof(struct vmb_hello) == 24, "hello");
VMB_STATIC_ASSERT(offsetof(struct vmb_hello, highest) == 22, "hello.highest");
VMB_STATIC_ASSERT(sizeof(struct vmb_welcome) == 80, "welcome");
VMB_STATIC_ASSERT(offsetof(struct vmb_welcome, bytes) == 40, "welcome.bytes");
VMB_STATIC_ASSERT(offsetof(struct vmb_welcome, fence_limit) == 60, "welcome.fence_limit");
VMB_STATIC_ASSERT(sizeof(struct vmb_buffer_create) == 112, "buffer_create");
VMB_STATIC_ASSERT(offsetof(struct vmb_buffer_create, modifier) == 32, "buffer_create.modifier");
VMB_STATIC_ASSERT(offsetof(struct vmb_buffer_create, planes) == 48, "buffer_create.planes");
VMB_STATIC_ASSERT(sizeof(struct vmb_buffer_allocate) == 40, "buffer_allocate");
VMB_STATIC_ASSERT(sizeof(struct vmb_allocated) == 112, "allocated");
VMB_STATIC_ASSERT(sizeof(struct vmb_surface_create) == 24, "surface_create");
VMB_STATIC_ASSERT(sizeof(struct vmb_frame) == 40, "frame");
VMB_STATIC_ASSERT(offsetof(struct vmb_frame, acquire) == 32, "frame.acquire");
VMB_STATIC_ASSERT(sizeof(struct vmb_fence_signal) == 32, "fence_signal");
VMB_STATIC_ASSERT(sizeof(struct vmb_released) == 40, "released");
VMB_STATIC_ASSERT(offsetof(struct vmb_released, outcome) == 32, "released.outcome");
VMB_STATIC_ASSERT(sizeof(struct vmb_configure) == 40, "configure");
VMB_STATIC_ASSERT(sizeof(struct vmb_presented) == 48, "presented");
VMB_STATIC_ASSERT(offsetof(struct vmb_presented, refresh) == 40, "presented.refresh");
VMB_STATIC_ASSERT(sizeof(struct vmb_discarded) == 24, "discarded");
VMB_STATIC_ASSERT(sizeof(struct vmb_input) == 48, "input");
VMB_STATIC_ASSERT(offsetof(struct vmb_input, time) == 24, "input.time");
VMB_STATIC_ASSERT(sizeof(struct vmb_keymap) == 32, "keymap");
VMB_STATIC_ASSERT(sizeof(struct vmb_refused) == 32, "refused");
VMB_STATIC_ASSERT(offsetof(struct vmb_refused, sequence) == 24, "refused.sequence");

/* ---- Sending --------------------------------------------------------------------------------- */

/* Gathers records and the descriptors that go with them. The bytes and the descriptors stay yours. */
struct vmb_writer {
    unsigned char *bytes;
    size_t capacity;
    size_t length;                                /* bytes of whole records */
    size_t end;                                   /* bytes with the record that was begun */
    int descriptors[VMB_MAXIMUM_DESCRIPTORS];     /* borrowed until vmb_send has returned */
    unsigned descriptor_count;                    /* those of whole records */
    unsigned descriptor_end;                      /* with those of the record that was begun */
    unsigned field_count;                         /* of the record that was begun */
    int failed;                                   /* errno of the record that was begun, 0 when well */
};

/* Begins with no records. More than VMB_MAXIMUM_DATAGRAM bytes of room are not used. */
static inline void vmb_writer_init(struct vmb_writer *writer, void *room, size_t bytes) {
    memset(writer, 0, sizeof *writer);
    writer->bytes = (unsigned char *)room;
    writer->capacity = bytes < VMB_MAXIMUM_DATAGRAM ? bytes : (size_t)VMB_MAXIMUM_DATAGRAM;
}

/* Forgets what was gathered. */
static inline void vmb_writer_clear(struct vmb_writer *writer) {
    writer->length = writer->end = 0;
    writer->descriptor_count = writer->descriptor_end = 0;
    writer->field_count = 0;
    writer->failed = 0;
}

/* Makes a record structure all zeros but its type and object. */
static inline void vmb_record_init(void *record, size_t bytes, uint16_t type, uint64_t object) {
    struct vmb_header header;
    memset(&header, 0, sizeof header);
    header.type = type;
    header.object = object;
    memset(record, 0, bytes);
    memcpy(record, &header, sizeof header);
}

/* For the helpers below: appends bytes, or zeros when `data` is null. */
static inline int vmb_append(struct vmb_writer *writer, const void *data, size_t bytes) {
    if (writer->failed)
        return -1;
    if (bytes > writer->capacity - writer->end) {
        writer->failed = EMSGSIZE;
        return -1;
    }
    if (data != NULL && bytes > 0)
        memcpy(writer->bytes + writer->end, data, bytes);
    else
        memset(writer->bytes + writer->end, 0, bytes);
    writer->end += bytes;
    return 0;
}

/* Begins a record: `record` is a structure of this header, or a vmb_header for records without a body.
 * Errors are kept and told by vmb_end. */
static inline void vmb_begin(struct vmb_writer *writer, const void *record, size_t bytes) {
    writer->end = writer->length;
    writer->descriptor_end = writer->descriptor_count;
    writer->field_count = 0;
    writer->failed = bytes < VMB_HEADER_BYTES || bytes % 8 != 0 ? EINVAL : 0;
    (void)vmb_append(writer, record, bytes);
}

/* Adds a descriptor to the record that was begun; it stays yours and must be open until vmb_send returns.
 * Returns its index in the record, for a plane's `descriptor`. */
static inline uint32_t vmb_add_descriptor(struct vmb_writer *writer, int descriptor) {
    if (writer->descriptor_end >= VMB_MAXIMUM_DESCRIPTORS) {
        if (!writer->failed)
            writer->failed = ETOOMANYREFS;
        return 0;
    }
    writer->descriptors[writer->descriptor_end++] = descriptor;
    return writer->descriptor_end - writer->descriptor_count - 1;
}

/* Adds a field, with its padding, to the record that was begun. `flags` is 0 or VMB_FIELD_REQUIRED. */
static inline void vmb_add_field(
    struct vmb_writer *writer, uint16_t tag, uint16_t flags, const void *payload, size_t bytes) {
    struct vmb_field field;
    if (bytes > VMB_MAXIMUM_DATAGRAM || ++writer->field_count > VMB_MAXIMUM_FIELDS) {
        if (!writer->failed)
            writer->failed = EMSGSIZE;
        return;
    }
    field.tag = tag;
    field.flags = flags;
    field.length = (uint32_t)bytes;
    (void)vmb_append(writer, &field, sizeof field);
    (void)vmb_append(writer, payload, bytes);
    (void)vmb_append(writer, NULL, (8 - bytes % 8) % 8);
}

/* Adds a text field; of a longer text only VMB_MAXIMUM_TEXT bytes are sent. */
static inline void vmb_add_text(struct vmb_writer *writer, uint16_t tag, const char *text) {
    size_t bytes = strlen(text);
    vmb_add_field(writer, tag, 0, text, bytes < VMB_MAXIMUM_TEXT ? bytes : (size_t)VMB_MAXIMUM_TEXT);
}

/* Ends the record that was begun. 0, or -1 with errno EMSGSIZE (no room, too many fields), ETOOMANYREFS
 * (too many descriptors) or EINVAL; the record is left out then, those before it stay. */
static inline int vmb_end(struct vmb_writer *writer) {
    uint16_t descriptors = (uint16_t)(writer->descriptor_end - writer->descriptor_count);
    uint32_t length = (uint32_t)(writer->end - writer->length);
    int failed = writer->failed;
    writer->failed = 0;
    if (!failed && length < VMB_HEADER_BYTES)
        failed = EINVAL;
    if (failed) {
        writer->end = writer->length;
        writer->descriptor_end = writer->descriptor_count;
        errno = failed;
        return -1;
    }
    memcpy(writer->bytes + writer->length + offsetof(struct vmb_header, descriptors), &descriptors,
        sizeof descriptors);
    memcpy(writer->bytes + writer->length + offsetof(struct vmb_header, length), &length, sizeof length);
    writer->length = writer->end;
    writer->descriptor_count = writer->descriptor_end;
    return 0;
}

/* A whole record without fields and descriptors in one call. */
static inline int vmb_put(struct vmb_writer *writer, const void *record, size_t bytes) {
    vmb_begin(writer, record, bytes);
    return vmb_end(writer);
}

/* A whole record without a body: BUFFER_DESTROY, SURFACE_DESTROY. */
static inline int vmb_put_bare(struct vmb_writer *writer, uint16_t type, uint64_t object) {
    struct vmb_header header;
    vmb_record_init(&header, sizeof header, type, object);
    return vmb_put(writer, &header, sizeof header);
}

/* The greeting; `name` is for logs and may be null. */
static inline int vmb_put_hello(struct vmb_writer *writer, const char *name) {
    struct vmb_hello hello;
    vmb_record_init(&hello, sizeof hello, VMB_RECORD_HELLO, 0);
    hello.magic = VMB_MAGIC;
    hello.lowest = VMB_VERSION;
    hello.highest = VMB_VERSION;
    vmb_begin(writer, &hello, sizeof hello);
    if (name != NULL)
        vmb_add_text(writer, VMB_FIELD_PRODUCER_NAME, name);
    return vmb_end(writer);
}

/* The same of a producer that wants input (§6.4): INPUT and KEYMAP come then. */
static inline int vmb_put_hello_with_input(struct vmb_writer *writer, const char *name) {
    struct vmb_hello hello;
    uint32_t wanted = 1;
    vmb_record_init(&hello, sizeof hello, VMB_RECORD_HELLO, 0);
    hello.magic = VMB_MAGIC;
    hello.lowest = VMB_VERSION;
    hello.highest = VMB_VERSION;
    vmb_begin(writer, &hello, sizeof hello);
    if (name != NULL)
        vmb_add_text(writer, VMB_FIELD_PRODUCER_NAME, name);
    vmb_add_field(writer, VMB_FIELD_INPUT_WANTED, 0, &wanted, sizeof wanted);
    return vmb_end(writer);
}

/* The greeting of a consumer (§12), which sends nothing behind it before WELCOME. With `fences` frames may come before
 * their content is complete, with a sync_file that tells. */
static inline int vmb_put_consumer_hello(struct vmb_writer *writer, const char *name, int fences) {
    struct vmb_hello hello;
    uint32_t role = VMB_CONNECTION_CONSUMER, wanted = 2;
    vmb_record_init(&hello, sizeof hello, VMB_RECORD_HELLO, 0);
    hello.magic = VMB_MAGIC;
    hello.lowest = VMB_VERSION;
    hello.highest = VMB_VERSION;
    vmb_begin(writer, &hello, sizeof hello);
    if (name != NULL)
        vmb_add_text(writer, VMB_FIELD_PRODUCER_NAME, name);
    vmb_add_field(writer, VMB_FIELD_CONNECTION_ROLE, VMB_FIELD_REQUIRED, &role, sizeof role);
    if (fences)
        vmb_add_field(writer, VMB_FIELD_ACQUIRE_WANTED, 0, &wanted, sizeof wanted);
    return vmb_end(writer);
}

/* Room for the descriptors of a datagram, aligned as the kernel wants it. */
union vmb_control {
    struct cmsghdr alignment;
    unsigned char bytes[CMSG_SPACE(sizeof(int) * VMB_MAXIMUM_DESCRIPTORS)];
};

/* Sends what was gathered as one datagram and forgets it. `flags` as for sendmsg (MSG_DONTWAIT);
 * MSG_NOSIGNAL is added. 0, or -1 with errno; the records are still there then, to be sent again after EAGAIN
 * and EINTR. After EPIPE and ECONNRESET the bridge has hung up, and what it said before can still be received. */
static inline int vmb_send(int socket, struct vmb_writer *writer, int flags) {
    union vmb_control control;
    struct iovec part;
    struct msghdr message;
    ssize_t sent;
    if (writer->length == 0)
        return 0;
    memset(&control, 0, sizeof control);
    memset(&message, 0, sizeof message);
    part.iov_base = writer->bytes;
    part.iov_len = writer->length;
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    if (writer->descriptor_count > 0) {
        struct cmsghdr *rights;
        size_t bytes = sizeof(int) * writer->descriptor_count;
        message.msg_control = control.bytes;
        message.msg_controllen = CMSG_SPACE(bytes);
        rights = CMSG_FIRSTHDR(&message);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN(bytes);
        memcpy(CMSG_DATA(rights), writer->descriptors, bytes);
    }
    sent = sendmsg(socket, &message, flags | MSG_NOSIGNAL);
    if (sent < 0)
        return -1;
    vmb_writer_clear(writer);
    return 0;
}

/* Connects to a bridge's socket; the descriptor, or -1 with errno. */
static inline int vmb_connect(const char *path) {
    struct sockaddr_un address;
    int descriptor;
    memset(&address, 0, sizeof address);
    address.sun_family = AF_UNIX;
    if (strlen(path) >= sizeof address.sun_path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(address.sun_path, path, strlen(path));
    descriptor = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (descriptor < 0)
        return -1;
    if (connect(descriptor, (const struct sockaddr *)&address, sizeof address) < 0) {
        int failed = errno;
        close(descriptor);
        errno = failed;
        return -1;
    }
    return descriptor;
}

/* ---- Receiving ------------------------------------------------------------------------------- */

/* A datagram and the place in it. Owns the descriptors that came with it. */
struct vmb_reader {
    const unsigned char *bytes;
    size_t length;
    size_t position;
    int descriptors[VMB_MAXIMUM_DESCRIPTORS]; /* -1 where one was taken */
    unsigned descriptor_count;
    unsigned descriptor_position;
};

/* One record of a datagram; points into it. */
struct vmb_record {
    uint16_t type;
    uint64_t object;
    const unsigned char *bytes; /* from its header on */
    size_t length;
    int *descriptors; /* its own; one that you keep is replaced by -1 here */
    unsigned descriptor_count;
};

/* One field of a record; points into the datagram. */
struct vmb_field_view {
    uint16_t tag;
    uint16_t flags;
    const unsigned char *payload;
    size_t length;
};

/* Closes the descriptors that nobody took. To be called after each datagram. */
static inline void vmb_reader_close(struct vmb_reader *reader) {
    unsigned index;
    for (index = 0; index < reader->descriptor_count; index++)
        if (reader->descriptors[index] >= 0)
            close(reader->descriptors[index]);
    reader->descriptor_count = 0;
}

/* Walks a datagram that is in memory already and came without descriptors. */
static inline void vmb_reader_init(struct vmb_reader *reader, const void *datagram, size_t bytes) {
    memset(reader, 0, sizeof *reader);
    reader->bytes = (const unsigned char *)datagram;
    reader->length = bytes;
}

/* Receives one datagram into `room`, which should have VMB_MAXIMUM_DATAGRAM bytes. `flags` as for recvmsg.
 * 1 for a datagram; 0 at the end of the connection; -1 with errno, EMSGSIZE for one that did not fit.
 * The reader may be closed in every case. */
static inline int vmb_receive(int socket, struct vmb_reader *reader, void *room, size_t bytes, int flags) {
    union vmb_control control;
    struct iovec part;
    struct msghdr message;
    struct cmsghdr *item;
    ssize_t received;
    vmb_reader_init(reader, room, 0);
    memset(&control, 0, sizeof control);
    memset(&message, 0, sizeof message);
    part.iov_base = room;
    part.iov_len = bytes;
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control.bytes;
    message.msg_controllen = sizeof control.bytes;
    received = recvmsg(socket, &message, flags | MSG_CMSG_CLOEXEC);
    if (received < 0 && errno == ECONNRESET) {
        /* The bridge closed before it had read everything. Told once; its last words come behind it. */
        message.msg_controllen = sizeof control.bytes;
        received = recvmsg(socket, &message, flags | MSG_CMSG_CLOEXEC);
    }
    if (received < 0)
        return -1;
    for (item = CMSG_FIRSTHDR(&message); item != NULL; item = CMSG_NXTHDR(&message, item)) {
        size_t count = (item->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        if (item->cmsg_level != SOL_SOCKET || item->cmsg_type != SCM_RIGHTS)
            continue;
        if (count > VMB_MAXIMUM_DESCRIPTORS - reader->descriptor_count)
            count = VMB_MAXIMUM_DESCRIPTORS - reader->descriptor_count;
        memcpy(reader->descriptors + reader->descriptor_count, CMSG_DATA(item), count * sizeof(int));
        reader->descriptor_count += (unsigned)count;
    }
    if (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) {
        vmb_reader_close(reader);
        errno = EMSGSIZE;
        return -1;
    }
    reader->length = (size_t)received;
    return received > 0;
}

/* The next record: 1; 0 after the last one; -1 with errno EBADMSG when the framing is broken. */
static inline int vmb_next(struct vmb_reader *reader, struct vmb_record *record) {
    struct vmb_header header;
    size_t left = reader->length - reader->position;
    if (left == 0)
        return 0;
    memset(&header, 0, sizeof header);
    if (left >= sizeof header)
        memcpy(&header, reader->bytes + reader->position, sizeof header);
    if (header.length < VMB_HEADER_BYTES || header.length % 8 != 0 || header.length > left
        || header.descriptors > reader->descriptor_count - reader->descriptor_position) {
        errno = EBADMSG;
        return -1;
    }
    record->type = header.type;
    record->object = header.object;
    record->bytes = reader->bytes + reader->position;
    record->length = header.length;
    record->descriptors = reader->descriptors + reader->descriptor_position;
    record->descriptor_count = header.descriptors;
    reader->position += header.length;
    reader->descriptor_position += header.descriptors;
    return 1;
}

/* Copies a record, without its fields, into its structure. 0, or -1 with errno EBADMSG when it is shorter. */
static inline int vmb_read(const struct vmb_record *record, void *structure, size_t bytes) {
    if (record->length < bytes) {
        errno = EBADMSG;
        return -1;
    }
    memcpy(structure, record->bytes, bytes);
    return 0;
}

/* The next field behind a body: 1; 0 after the last one; -1 with errno EBADMSG when it is broken.
 * `position` begins as the size of the record's structure. */
static inline int vmb_next_field(const struct vmb_record *record, size_t *position, struct vmb_field_view *view) {
    struct vmb_field field;
    size_t left, padded;
    if (*position >= record->length)
        return 0;
    left = record->length - *position;
    if (left < sizeof field) {
        errno = EBADMSG;
        return -1;
    }
    memcpy(&field, record->bytes + *position, sizeof field);
    padded = sizeof field + ((size_t)field.length + 7) / 8 * 8;
    if (field.length > left || padded > left) {
        errno = EBADMSG;
        return -1;
    }
    view->tag = field.tag;
    view->flags = field.flags;
    view->payload = record->bytes + *position + sizeof field;
    view->length = field.length;
    *position += padded;
    return 1;
}

/* Looks for a field: 1 when it is there, else 0. `bytes` is the size of the record's structure. */
static inline int vmb_find_field(
    const struct vmb_record *record, size_t bytes, uint16_t tag, struct vmb_field_view *view) {
    size_t position = bytes;
    while (vmb_next_field(record, &position, view) > 0)
        if (view->tag == tag)
            return 1;
    return 0;
}

/* Copies a text field into `room`, ended by a zero byte and cut to fit; an empty text when it is not there. */
static inline void vmb_read_text(
    const struct vmb_record *record, size_t bytes, uint16_t tag, char *room, size_t capacity) {
    struct vmb_field_view view;
    size_t length = 0;
    if (capacity == 0)
        return;
    if (vmb_find_field(record, bytes, tag, &view)) {
        length = view.length < capacity - 1 ? view.length : capacity - 1;
        memcpy(room, view.payload, length);
    }
    room[length] = 0;
}

#ifdef __cplusplus
}
#endif

#endif
