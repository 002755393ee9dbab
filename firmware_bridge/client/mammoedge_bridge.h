/* mammoedge_bridge.h: the frame socket (contract 3, version 1) for a unit's firmware.
 *
 * One file, C11, Linux, nothing but libc. Compile with -D_GNU_SOURCE, or include this first.
 *
 *   me_bridge bridge;
 *   me_connect(&bridge, "/run/mammoedge/frames.sock");
 *   me_hello(&bridge, &who);                 // then read the answer with me_next()
 *   me_exam_opened(&bridge, &exam);
 *   me_pixels_open(&pixels, rows, columns);  // write the image to pixels.data
 *   id = me_frame_send(&bridge, &frame, &pixels);
 *   me_next(&bridge, &message, 1000);        // ME_ACCEPTED with message.id == id: it is on the disk
 *
 * Every function that says something returns the id of its message (1 or more), or a negative
 * me_error. Answers, flags and heartbeats come from me_next(), in the order in which they were said.
 * Not thread-safe: one bridge, one thread. me_bridge holds two buffers of 64 KiB: not for small stacks.
 *
 * Rules worth knowing:
 *  - `refused` with reason "busy": send the same frame again after retry_after_ms. Keep the pixels open
 *    until `accepted`; the same frame twice is recognised (receipt "known").
 *  - After a reconnect say hello and exam_opened again, then go on.
 *  - Say something (me_heartbeat) at least every heartbeat_ms of the answer to hello.
 *  - Acknowledge (me_acknowledge) a flag when it is safe with you. What was not acknowledged is said
 *    again after the next hello, so a flag may come twice: the highest revision holds.
 *  - Close an exam (me_exam_closed) when its frames were accepted.
 */
#ifndef MAMMOEDGE_BRIDGE_H
#define MAMMOEDGE_BRIDGE_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* memfd_create(2), F_ADD_SEALS */
#endif

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#ifndef MFD_ALLOW_SEALING
#error "define _GNU_SOURCE before the first #include, or on the command line"
#endif

#define ME_VERSION 1
#define ME_MESSAGE_BYTES 65536
#define ME_UID_SIZE 65 /* PS3.5 9.1: 64 characters, and the end */
#define ME_DEPTH 16    /* of what the bridge sends; it sends less */

typedef enum {
    ME_SYSTEM = -1,    /* errno says what */
    ME_CLOSED = -2,    /* the bridge ended the connection: connect again */
    ME_TIMEOUT = -3,   /* nothing came in time */
    ME_TOO_LARGE = -4, /* the message does not fit 64 KiB */
    ME_MALFORMED = -5, /* the bridge said something that we cannot read */
} me_error;

typedef enum {
    ME_OTHER, /* a type that this header does not know: skip it */
    ME_ACCEPTED,
    ME_REFUSED,
    ME_HEARTBEAT,
    ME_VIEW_OUTCOME,
    ME_EXAM_FLAG,
    ME_STATUS,
} me_type;

typedef struct {
    int fd; /* for poll(2); -1 when closed */
    uint32_t last_id;
    uint8_t out[ME_MESSAGE_BYTES];
    size_t out_length;
    size_t out_count; /* where the count of the open map stands */
    bool out_full;
    uint8_t in[ME_MESSAGE_BYTES];
} me_bridge;

/* What the bridge said. Texts are cut to their size; what a message does not have is "", 0 or NAN. */
typedef struct {
    me_type type;
    int64_t id;                    /* of the message that is answered */
    int64_t seq;                   /* view_outcome, exam_flag: acknowledge it */
    char reason[64];               /* refused */
    char detail[256];              /* refused: for the log */
    int64_t retry_after_ms;        /* refused as "busy" */
    char receipt[16];              /* accepted frame: "stored", "known", "twin", "conflict" */
    int64_t heartbeat_ms;          /* accepted hello */
    int64_t max_in_flight;         /* accepted hello */
    int64_t max_frame_bytes;       /* accepted hello */
    char study_instance_uid[ME_UID_SIZE];
    char sop_instance_uid[ME_UID_SIZE]; /* view_outcome */
    char view[16];                 /* view_outcome: "rcc", "lmlo" */
    char outcome[16];              /* view_outcome: "judged", "not_assessed" */
    char flag[16];                 /* "priority", "none", "not_assessed" */
    double score;                  /* 0 to 1; NAN where nothing was judged */
    char reasons[512];             /* why not assessed; codes with commas between */
    int64_t revision;              /* exam_flag: the highest holds */
    bool final;                    /* exam_flag: no further revision is expected */
    char completed_by[24];         /* exam_flag: "exam_closed", "mpps", "expected_views", "timeout" */
    char state[16];                /* status: "online", "degraded", "offline" */
} me_message;

typedef struct {
    const char *serial; /* needed */
    const char *manufacturer, *model, *software; /* NULL: not said */
    bool outcomes; /* send me flags and status */
} me_who;

typedef struct {
    const char *study_instance_uid; /* needed; the others may be NULL */
    const char *patient_id, *patient_name, *patient_birth_date, *patient_sex, *accession_number;
    const char *expected_views[4]; /* the only ones that will be taken: "RCC", "LMLO"; NULL ends; none: all */
} me_exam;

/* 0 and NULL: not said. */
typedef struct {
    double kvp, mas, thickness_mm, force_n;
    const char *target, *filter; /* "TUNGSTEN", "RHODIUM", ... */
} me_technique;

/* X-rays were on, whatever became of the image. */
typedef struct {
    const char *study_instance_uid;
    const char *laterality, *view;  /* as in me_frame */
    me_technique technique;
    const char *detector_state;     /* a code: "ready"; NULL: not said */
    double detector_temperature_c;  /* 0: not said */
} me_exposed;

typedef struct {
    const char *study_instance_uid, *sop_instance_uid;
    const char *series_instance_uid; /* NULL: one for each intent of the exam is made */
    const char *laterality; /* "R", "L" */
    const char *view;       /* "CC", "MLO", "ML", "LM", "XCCL" */
    const char *modifiers[3]; /* "implant_displaced", "spot", "magnification"; NULL ends */
    bool for_presentation;  /* then the window is needed; otherwise it is not said */
    uint32_t rows, columns;
    uint32_t bits_stored;   /* 8 to 16 */
    uint32_t instance_number;
    bool monochrome1;       /* the lowest value is white */
    double window_center, window_width;
    double row_spacing_mm, column_spacing_mm; /* at the detector */
    double magnification_factor; /* 0: none */
    const char *acquired_at; /* "YYYYMMDDHHMMSS" */
    bool implant, partial_view, quality_control;
    me_technique technique;
} me_frame;

/* The pixels of a frame, in memory that the bridge will map. */
typedef struct {
    int fd;
    uint16_t *data; /* rows x columns, the first row first; NULL once sealed */
    size_t bytes;
} me_pixels;

/* --- writing CBOR (RFC 8949) ------------------------------------------------------------------- */

static inline void me_put_bytes(me_bridge *b, const void *bytes, size_t size)
{
    if (size > sizeof b->out - b->out_length) {
        b->out_full = true;
        return;
    }
    memcpy(b->out + b->out_length, bytes, size);
    b->out_length += size;
}

static inline void me_put_head(me_bridge *b, unsigned major, uint64_t argument)
{
    uint8_t head[9];
    size_t size = argument < 24 ? 0 : argument <= UINT8_MAX ? 1 : argument <= UINT16_MAX ? 2 : argument <= UINT32_MAX ? 4 : 8;
    unsigned info = size == 0 ? (unsigned)argument : size == 1 ? 24u : size == 2 ? 25u : size == 4 ? 26u : 27u;
    head[0] = (uint8_t)(major << 5 | info);
    for (size_t i = 0; i < size; i++)
        head[1 + i] = (uint8_t)(argument >> (8 * (size - 1 - i)));
    me_put_bytes(b, head, 1 + size);
}

static inline void me_put_text(me_bridge *b, const char *text)
{
    size_t size = strlen(text);
    me_put_head(b, 3, size);
    me_put_bytes(b, text, size);
}

static inline void me_put_double(me_bridge *b, double value)
{
    uint64_t bits;
    uint8_t bytes[9] = {0xfb};
    memcpy(&bits, &value, sizeof bits);
    for (int i = 0; i < 8; i++)
        bytes[1 + i] = (uint8_t)(bits >> (8 * (7 - i)));
    me_put_bytes(b, bytes, sizeof bytes);
}

/* A map whose entries are counted as they come: at most 255, which two bytes hold. */
static inline size_t me_open_map(me_bridge *b)
{
    size_t outer = b->out_count;
    const uint8_t head[2] = {0xb8, 0};
    me_put_bytes(b, head, sizeof head);
    b->out_count = b->out_length - 1;
    return outer;
}

static inline void me_close_map(me_bridge *b, size_t outer)
{
    b->out_count = outer;
}

static inline void me_key(me_bridge *b, const char *key)
{
    if (!b->out_full)
        b->out[b->out_count]++;
    me_put_text(b, key);
}

static inline void me_say_text(me_bridge *b, const char *key, const char *text)
{
    if (text == NULL)
        return;
    me_key(b, key);
    me_put_text(b, text);
}

/* An array of texts; NULL ends it before `most`. */
static inline void me_say_texts(me_bridge *b, const char *key, const char *const *texts, size_t most)
{
    size_t count = 0;
    while (count < most && texts[count] != NULL)
        count++;
    me_key(b, key);
    me_put_head(b, 4, count);
    for (size_t i = 0; i < count; i++)
        me_put_text(b, texts[i]);
}

static inline void me_say_number(me_bridge *b, const char *key, uint64_t number)
{
    me_key(b, key);
    me_put_head(b, 0, number);
}

static inline void me_say_bool(me_bridge *b, const char *key, bool value)
{
    me_key(b, key);
    me_put_head(b, 7, value ? 21 : 20);
}

static inline void me_say_double(me_bridge *b, const char *key, double value)
{
    if (value == 0.0)
        return;
    me_key(b, key);
    me_put_double(b, value);
}

static inline void me_begin(me_bridge *b, const char *type)
{
    b->out_length = 0;
    b->out_full = false;
    (void)me_open_map(b);
    me_say_text(b, "type", type);
    me_say_number(b, "version", ME_VERSION);
    me_say_number(b, "id", ++b->last_id);
}

/* Sends the message that was begun, with a descriptor or -1. */
static inline int64_t me_finish(me_bridge *b, int descriptor)
{
    if (b->out_full)
        return ME_TOO_LARGE;
    struct iovec content = {.iov_base = b->out, .iov_len = b->out_length};
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr aligned;
    } rights;
    struct msghdr message = {.msg_iov = &content, .msg_iovlen = 1};
    memset(&rights, 0, sizeof rights);
    if (descriptor >= 0) {
        message.msg_control = rights.bytes;
        message.msg_controllen = sizeof rights.bytes;
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(header), &descriptor, sizeof descriptor);
    }
    while (sendmsg(b->fd, &message, MSG_NOSIGNAL) < 0) {
        if (errno == EPIPE || errno == ECONNRESET)
            return ME_CLOSED;
        if (errno != EINTR)
            return ME_SYSTEM;
    }
    return b->last_id;
}

/* --- reading CBOR ------------------------------------------------------------------------------ */

typedef struct {
    const uint8_t *at, *end;
} me_reader;

typedef struct {
    unsigned major;      /* RFC 8949 3.1 */
    unsigned info;
    uint64_t argument;   /* number, length, count, or the bits of a float */
    const uint8_t *text; /* major 3, `argument` bytes, no end mark */
} me_item;

/* One head, and the bytes of a text. False: malformed, or cut off. */
static inline bool me_read_item(me_reader *r, me_item *item)
{
    if (r->at >= r->end)
        return false;
    item->major = *r->at >> 5;
    item->info = *r->at++ & 0x1f;
    item->argument = item->info;
    item->text = NULL;
    if (item->info > 27)
        return false;
    if (item->info >= 24) {
        size_t size = (size_t)1 << (item->info - 24);
        if ((size_t)(r->end - r->at) < size)
            return false;
        item->argument = 0;
        for (size_t i = 0; i < size; i++)
            item->argument = item->argument << 8 | *r->at++;
    }
    if (item->major == 2 || item->major == 6)
        return false;
    if (item->major == 3) {
        if ((uint64_t)(r->end - r->at) < item->argument)
            return false;
        item->text = r->at;
        r->at += item->argument;
    }
    return true;
}

/* Passes over what belongs to an item that was read: the contents of an array or a map. */
static inline bool me_skip_contents(me_reader *r, const me_item *item, int depth)
{
    if (item->major != 4 && item->major != 5)
        return true;
    if (depth == 0)
        return false;
    for (uint64_t left = item->argument; left > 0; left--) {
        for (int part = 0; part < (item->major == 5 ? 2 : 1); part++) {
            me_item inner;
            if (!me_read_item(r, &inner) || !me_skip_contents(r, &inner, depth - 1))
                return false;
        }
    }
    return true;
}

static inline bool me_text_is(const me_item *item, const char *text)
{
    return item->major == 3 && item->argument == strlen(text) && memcmp(item->text, text, item->argument) == 0;
}

static inline void me_take_text(const me_item *item, char *target, size_t size)
{
    if (item->major != 3)
        return;
    size_t length = item->argument < size - 1 ? (size_t)item->argument : size - 1;
    memcpy(target, item->text, length);
    target[length] = '\0';
}

static inline void me_take_number(const me_item *item, int64_t *target)
{
    if (item->major == 0 && item->argument <= INT64_MAX)
        *target = (int64_t)item->argument;
}

static inline void me_take_double(const me_item *item, double *target)
{
    if (item->major == 0)
        *target = (double)item->argument;
    if (item->major == 7 && item->info == 27)
        memcpy(target, &item->argument, sizeof *target);
}

/* Joins an array of texts with commas. */
static inline bool me_take_texts(me_reader *r, const me_item *item, char *target, size_t size)
{
    if (item->major != 4)
        return me_skip_contents(r, item, ME_DEPTH);
    for (uint64_t left = item->argument; left > 0; left--) {
        me_item inner;
        if (!me_read_item(r, &inner) || !me_skip_contents(r, &inner, ME_DEPTH))
            return false;
        size_t used = strlen(target);
        if (inner.major == 3 && used + 2 < size) {
            if (used > 0)
                target[used++] = ',';
            me_take_text(&inner, target + used, size - used);
        }
    }
    return true;
}

static inline me_type me_type_of(const me_item *item)
{
    static const struct {
        const char *name;
        me_type type;
    } types[] = {
        {"accepted", ME_ACCEPTED},   {"refused", ME_REFUSED},
        {"heartbeat", ME_HEARTBEAT}, {"view_outcome", ME_VIEW_OUTCOME},
        {"exam_flag", ME_EXAM_FLAG}, {"status", ME_STATUS},
    };
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (me_text_is(item, types[i].name))
            return types[i].type;
    return ME_OTHER;
}

static inline void me_take_field(const me_item *key, const me_item *value, me_message *m)
{
    const struct {
        const char *name;
        char *target;
        size_t size;
    } texts[] = {
        {"reason", m->reason, sizeof m->reason},
        {"detail", m->detail, sizeof m->detail},
        {"receipt", m->receipt, sizeof m->receipt},
        {"study_instance_uid", m->study_instance_uid, sizeof m->study_instance_uid},
        {"sop_instance_uid", m->sop_instance_uid, sizeof m->sop_instance_uid},
        {"view", m->view, sizeof m->view},
        {"outcome", m->outcome, sizeof m->outcome},
        {"flag", m->flag, sizeof m->flag},
        {"completed_by", m->completed_by, sizeof m->completed_by},
        {"state", m->state, sizeof m->state},
    };
    const struct {
        const char *name;
        int64_t *target;
    } numbers[] = {
        {"id", &m->id},
        {"seq", &m->seq},
        {"retry_after_ms", &m->retry_after_ms},
        {"heartbeat_ms", &m->heartbeat_ms},
        {"max_in_flight", &m->max_in_flight},
        {"max_frame_bytes", &m->max_frame_bytes},
        {"revision", &m->revision},
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (me_text_is(key, texts[i].name))
            me_take_text(value, texts[i].target, texts[i].size);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (me_text_is(key, numbers[i].name))
            me_take_number(value, numbers[i].target);
    if (me_text_is(key, "type"))
        m->type = me_type_of(value);
    if (me_text_is(key, "score"))
        me_take_double(value, &m->score);
    if (me_text_is(key, "final"))
        m->final = value->major == 7 && value->info == 21;
}

/* Reads one message of the bridge. Returns 0, or ME_MALFORMED. */
static inline int me_parse(const uint8_t *bytes, size_t size, me_message *m)
{
    me_reader r = {.at = bytes, .end = bytes + size};
    me_item map, key, value;
    memset(m, 0, sizeof *m);
    m->score = NAN;
    if (!me_read_item(&r, &map) || map.major != 5)
        return ME_MALFORMED;
    for (uint64_t left = map.argument; left > 0; left--) {
        if (!me_read_item(&r, &key) || key.major != 3 || !me_read_item(&r, &value))
            return ME_MALFORMED;
        bool whole = me_text_is(&key, "reasons") ? me_take_texts(&r, &value, m->reasons, sizeof m->reasons)
                                                 : me_skip_contents(&r, &value, ME_DEPTH);
        if (!whole)
            return ME_MALFORMED;
        me_take_field(&key, &value, m);
    }
    return r.at == r.end ? 0 : ME_MALFORMED;
}

/* --- the connection ---------------------------------------------------------------------------- */

/* Connects. Returns 0 or ME_SYSTEM. */
static inline int me_connect(me_bridge *b, const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memset(b, 0, sizeof *b);
    b->fd = -1;
    if (strlen(path) >= sizeof address.sun_path) {
        errno = ENAMETOOLONG;
        return ME_SYSTEM;
    }
    memcpy(address.sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return ME_SYSTEM;
    if (connect(fd, (const struct sockaddr *)&address, sizeof address) < 0) {
        int reason = errno;
        close(fd);
        errno = reason;
        return ME_SYSTEM;
    }
    b->fd = fd;
    return 0;
}

static inline void me_close(me_bridge *b)
{
    if (b->fd >= 0)
        close(b->fd);
    b->fd = -1;
}

/* The next message of the bridge; waits for it. Returns 0 or a me_error. */
static inline int me_next(me_bridge *b, me_message *m, int timeout_ms)
{
    struct pollfd waiting = {.fd = b->fd, .events = POLLIN};
    int ready = poll(&waiting, 1, timeout_ms);
    if (ready < 0)
        return errno == EINTR ? ME_TIMEOUT : ME_SYSTEM;
    if (ready == 0)
        return ME_TIMEOUT;
    ssize_t size = recv(b->fd, b->in, sizeof b->in, 0);
    if (size < 0)
        return errno == ECONNRESET ? ME_CLOSED : ME_SYSTEM;
    if (size == 0)
        return ME_CLOSED;
    return me_parse(b->in, (size_t)size, m);
}

/* --- what the firmware says -------------------------------------------------------------------- */

static inline int64_t me_hello(me_bridge *b, const me_who *who)
{
    me_begin(b, "hello");
    me_say_text(b, "serial", who->serial);
    me_say_text(b, "manufacturer", who->manufacturer);
    me_say_text(b, "model", who->model);
    me_say_text(b, "software", who->software);
    me_key(b, "capabilities");
    me_put_head(b, 4, who->outcomes ? 2 : 1);
    me_put_text(b, "frames");
    if (who->outcomes)
        me_put_text(b, "outcomes");
    return me_finish(b, -1);
}

static inline int64_t me_exam_opened(me_bridge *b, const me_exam *exam)
{
    me_begin(b, "exam_opened");
    me_say_text(b, "study_instance_uid", exam->study_instance_uid);
    me_say_text(b, "patient_id", exam->patient_id);
    me_say_text(b, "patient_name", exam->patient_name);
    me_say_text(b, "patient_birth_date", exam->patient_birth_date);
    me_say_text(b, "patient_sex", exam->patient_sex);
    me_say_text(b, "accession_number", exam->accession_number);
    me_say_texts(b, "expected_views", exam->expected_views, 4);
    return me_finish(b, -1);
}

static inline void me_say_technique(me_bridge *b, const me_technique *technique)
{
    me_key(b, "technique");
    size_t outer = me_open_map(b);
    me_say_double(b, "kvp", technique->kvp);
    me_say_double(b, "mas", technique->mas);
    me_say_double(b, "thickness_mm", technique->thickness_mm);
    me_say_double(b, "force_n", technique->force_n);
    me_say_text(b, "target", technique->target);
    me_say_text(b, "filter", technique->filter);
    me_close_map(b, outer);
}

static inline int64_t me_exposure(me_bridge *b, const me_exposed *exposed)
{
    me_begin(b, "exposure");
    me_say_text(b, "study_instance_uid", exposed->study_instance_uid);
    me_say_text(b, "laterality", exposed->laterality);
    me_say_text(b, "view", exposed->view);
    me_say_technique(b, &exposed->technique);
    me_say_text(b, "detector_state", exposed->detector_state);
    me_say_double(b, "detector_temperature_c", exposed->detector_temperature_c);
    return me_finish(b, -1);
}

/* The technologist rejected an image; `reason` is a code: "motion", "positioning". `retake_uid` is the SOP
 * Instance UID of the image in its place; NULL: the next of the same view. */
static inline int64_t me_repeat(me_bridge *b, const char *study_instance_uid, const char *sop_instance_uid,
                                const char *reason, const char *retake_uid)
{
    me_begin(b, "repeat");
    me_say_text(b, "study_instance_uid", study_instance_uid);
    me_say_text(b, "sop_instance_uid", sop_instance_uid);
    me_say_text(b, "reason", reason);
    me_say_text(b, "retake_uid", retake_uid);
    return me_finish(b, -1);
}

static inline int64_t me_exam_closed(me_bridge *b, const char *study_instance_uid)
{
    me_begin(b, "exam_closed");
    me_say_text(b, "study_instance_uid", study_instance_uid);
    return me_finish(b, -1);
}

/* `severity`: "error" or "warning"; NULL is "error". */
static inline int64_t me_fault(me_bridge *b, const char *code, const char *severity)
{
    me_begin(b, "fault");
    me_say_text(b, "code", code);
    me_say_text(b, "severity", severity);
    return me_finish(b, -1);
}

/* `state` is a code: "ready", "warming_up"; NULL: not said. */
static inline int64_t me_detector(me_bridge *b, double temperature_c, const char *state)
{
    me_begin(b, "detector");
    me_say_text(b, "state", state);
    me_key(b, "temperature_c");
    me_put_double(b, temperature_c);
    return me_finish(b, -1);
}

static inline int64_t me_heartbeat(me_bridge *b)
{
    me_begin(b, "heartbeat");
    return me_finish(b, -1);
}

/* Everything up to `seq` is safe with us. Not answered. */
static inline int64_t me_acknowledge(me_bridge *b, int64_t seq)
{
    me_begin(b, "acknowledged");
    me_say_number(b, "seq", (uint64_t)seq);
    return me_finish(b, -1);
}

/* --- frames ------------------------------------------------------------------------------------ */

/* Memory for an image. Returns 0 or ME_SYSTEM. */
static inline int me_pixels_open(me_pixels *pixels, uint32_t rows, uint32_t columns)
{
    pixels->data = NULL;
    pixels->bytes = (size_t)rows * columns * sizeof(uint16_t);
    pixels->fd = memfd_create("mammoedge-frame", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (pixels->fd < 0)
        return ME_SYSTEM;
    if (ftruncate(pixels->fd, (off_t)pixels->bytes) == 0) {
        void *mapped = mmap(NULL, pixels->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, pixels->fd, 0);
        if (mapped != MAP_FAILED) {
            pixels->data = mapped;
            return 0;
        }
    }
    int reason = errno;
    close(pixels->fd);
    pixels->fd = -1;
    errno = reason;
    return ME_SYSTEM;
}

/* Nobody, we included, can change the pixels any more. Done by me_frame_send. */
static inline int me_pixels_seal(me_pixels *pixels)
{
    if (pixels->data != NULL) {
        /* F_SEAL_WRITE is refused while a writable mapping exists. */
        if (munmap(pixels->data, pixels->bytes) < 0)
            return ME_SYSTEM;
        pixels->data = NULL;
        int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL;
        if (fcntl(pixels->fd, F_ADD_SEALS, seals) < 0)
            return ME_SYSTEM;
    }
    return 0;
}

static inline void me_pixels_close(me_pixels *pixels)
{
    if (pixels->data != NULL)
        munmap(pixels->data, pixels->bytes);
    if (pixels->fd >= 0)
        close(pixels->fd);
    pixels->data = NULL;
    pixels->fd = -1;
}

/* Hands an image over. The pixels stay open: close them when the frame was accepted. */
static inline int64_t me_frame_send(me_bridge *b, const me_frame *frame, me_pixels *pixels)
{
    if (me_pixels_seal(pixels) < 0)
        return ME_SYSTEM;
    me_begin(b, "frame");
    me_say_text(b, "study_instance_uid", frame->study_instance_uid);
    me_say_text(b, "sop_instance_uid", frame->sop_instance_uid);
    me_say_text(b, "series_instance_uid", frame->series_instance_uid);
    me_say_text(b, "laterality", frame->laterality);
    me_say_text(b, "view", frame->view);
    me_say_texts(b, "modifiers", frame->modifiers, 3);
    me_say_text(b, "intent", frame->for_presentation ? "for_presentation" : "for_processing");
    me_say_number(b, "rows", frame->rows);
    me_say_number(b, "columns", frame->columns);
    me_say_number(b, "bits_stored", frame->bits_stored);
    me_say_number(b, "instance_number", frame->instance_number);
    me_say_bool(b, "monochrome1", frame->monochrome1);
    if (frame->for_presentation) {
        me_key(b, "window");
        size_t outer = me_open_map(b);
        me_key(b, "center");
        me_put_double(b, frame->window_center);
        me_key(b, "width");
        me_put_double(b, frame->window_width);
        me_close_map(b, outer);
    }
    me_key(b, "pixel_spacing_mm");
    me_put_head(b, 4, 2);
    me_put_double(b, frame->row_spacing_mm);
    me_put_double(b, frame->column_spacing_mm);
    me_say_double(b, "magnification_factor", frame->magnification_factor);
    me_say_text(b, "acquired_at", frame->acquired_at);
    me_say_bool(b, "implant", frame->implant);
    me_say_bool(b, "partial_view", frame->partial_view);
    me_say_bool(b, "quality_control", frame->quality_control);
    me_say_technique(b, &frame->technique);
    return me_finish(b, pixels->fd);
}

#endif
