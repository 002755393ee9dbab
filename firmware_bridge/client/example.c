/* A firmware in one page: an exam of four views, all in flight at once, and its flag back.
 *
 *   cc -std=c11 -Wall -Wextra example.c -o example
 *   ./example SOCKET STUDY_INSTANCE_UID LIGHT [SERIAL]
 *
 * The views are synthetic half discs; LIGHT (0 to 4095) is how bright. Prints a line for each
 * thing that happened, and ends with the exam's final flag.
 */
#include "mammoedge_bridge.h"

#include <stdlib.h>
#include <time.h>

#define ROWS 1024u
#define COLUMNS 832u
#define VIEWS 4

typedef struct {
    const char *laterality, *view;
    me_frame frame;
    me_pixels pixels;
    char sop_instance_uid[ME_UID_SIZE];
    int64_t id;
    bool accepted;
} shot;

static void draw(shot *s, unsigned light)
{
    for (unsigned y = 0; y < ROWS; y++) {
        for (unsigned x = 0; x < COLUMNS; x++) {
            /* The chest wall of a right breast is at the right border. */
            double from_wall = s->laterality[0] == 'R' ? COLUMNS - 1 - x : x;
            double dx = from_wall / (0.7 * COLUMNS), dy = (y - 0.5 * ROWS) / (0.4 * ROWS);
            double depth = 1 - dx * dx - dy * dy;
            /* Tissue has texture in proportion to its light, and is brighter where it is thicker: a
             * plain shape is no breast, and one of a single gray shows nothing on a display. */
            unsigned texture = ((x * 2654435761u ^ y * 40503u) >> 8 & 63) * light / 1000;
            double skin = depth < 0.15 ? depth / 0.15 : 1, thick = 0.55 + 0.45 * depth;
            s->pixels.data[y * COLUMNS + x] = (uint16_t)(depth > 0 ? light * skin * thick + texture : 40);
        }
    }
}

static int fail(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    return EXIT_FAILURE;
}

static shot *shot_of(shot *shots, int64_t id)
{
    for (int i = 0; i < VIEWS; i++)
        if (shots[i].id == id)
            return &shots[i];
    return NULL;
}

/* What to do with one message of the bridge; 1 when the exam is done, -1 on a fault. */
static int handle(me_bridge *bridge, shot *shots, const me_message *m, const char *study)
{
    shot *s = shot_of(shots, m->id);
    switch (m->type) {
    case ME_ACCEPTED:
        if (s != NULL && !s->accepted) {
            printf("accepted %s%s %s\n", s->laterality, s->view, m->receipt);
            s->accepted = true;
            me_pixels_close(&s->pixels);
            bool all = true;
            for (int i = 0; i < VIEWS; i++)
                all = all && shots[i].accepted;
            if (all)
                return me_exam_closed(bridge, study) < 0 ? -1 : 0;
        }
        return 0;
    case ME_REFUSED:
        if (s != NULL && strcmp(m->reason, "busy") == 0) {
            struct timespec pause = {.tv_sec = m->retry_after_ms / 1000, .tv_nsec = m->retry_after_ms % 1000 * 1000000};
            nanosleep(&pause, NULL);
            s->id = me_frame_send(bridge, &s->frame, &s->pixels);
            return s->id < 0 ? -1 : 0;
        }
        fprintf(stderr, "refused: %s: %s\n", m->reason, m->detail);
        return -1;
    case ME_VIEW_OUTCOME:
        printf("view %s %s %s %s\n", m->view, m->outcome, m->sop_instance_uid, m->reasons);
        return me_acknowledge(bridge, m->seq) < 0 ? -1 : 0;
    case ME_EXAM_FLAG:
        if (me_acknowledge(bridge, m->seq) < 0)
            return -1;
        if (strcmp(m->study_instance_uid, study) != 0 || !m->final)
            return 0;
        printf("flag %s revision %lld score %.6f\n", m->flag, (long long)m->revision, m->score);
        return 1;
    case ME_STATUS:
        printf("status %s\n", m->state);
        return 0;
    case ME_HEARTBEAT:
        return m->id == 0 && me_heartbeat(bridge) < 0 ? -1 : 0;
    case ME_OTHER:
        break;
    }
    return 0;
}

static int play(me_bridge *bridge, shot *shots, const char *study, const char *serial)
{
    const me_who who = {.serial = serial, .manufacturer = "Example", .model = "One page", .outcomes = true};
    const me_exam exam = {.study_instance_uid = study};
    const me_technique technique = {.kvp = 28, .mas = 63, .target = "TUNGSTEN", .filter = "RHODIUM", .thickness_mm = 51};
    if (me_hello(bridge, &who) < 0 || me_exam_opened(bridge, &exam) < 0 || me_detector(bridge, 31.5, "ready") < 0)
        return fail("hello");
    for (int i = 0; i < VIEWS; i++) {
        const me_exposed exposed = {
            .study_instance_uid = study, .laterality = shots[i].laterality, .view = shots[i].view,
            .technique = technique, .detector_state = "ready", .detector_temperature_c = 31.5,
        };
        if (me_exposure(bridge, &exposed) < 0)
            return fail("exposure");
        shots[i].frame.technique = technique;
        shots[i].id = me_frame_send(bridge, &shots[i].frame, &shots[i].pixels);
        if (shots[i].id < 0)
            return fail("frame");
    }
    for (;;) {
        me_message message;
        int came = me_next(bridge, &message, 60000);
        if (came < 0) {
            fprintf(stderr, "no message: %d\n", came);
            return EXIT_FAILURE;
        }
        int done = handle(bridge, shots, &message, study);
        fflush(stdout);
        if (done != 0)
            return done > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
    }
}

int main(int count, char **arguments)
{
    if (count < 4) {
        fprintf(stderr, "usage: %s SOCKET STUDY_INSTANCE_UID LIGHT [SERIAL]\n", arguments[0]);
        return EXIT_FAILURE;
    }
    static me_bridge bridge;
    const char *study = arguments[2];
    shot shots[VIEWS] = {
        {.laterality = "R", .view = "CC"},
        {.laterality = "L", .view = "CC"},
        {.laterality = "R", .view = "MLO"},
        {.laterality = "L", .view = "MLO"},
    };
    if (me_connect(&bridge, arguments[1]) < 0)
        return fail(arguments[1]);
    for (int i = 0; i < VIEWS; i++) {
        shot *s = &shots[i];
        if (me_pixels_open(&s->pixels, ROWS, COLUMNS) < 0)
            return fail("memory");
        draw(s, (unsigned)atoi(arguments[3]));
        snprintf(s->sop_instance_uid, sizeof s->sop_instance_uid, "%.60s.%d", study, i + 1);
        s->frame = (me_frame){
            .study_instance_uid = study, .sop_instance_uid = s->sop_instance_uid,
            .laterality = s->laterality, .view = s->view,
            .for_presentation = true, .window_center = 2048, .window_width = 4096,
            .rows = ROWS, .columns = COLUMNS, .bits_stored = 12, .instance_number = (uint32_t)i + 1,
            .row_spacing_mm = 0.1, .column_spacing_mm = 0.1, .acquired_at = "20261122160358",
        };
    }
    int verdict = play(&bridge, shots, study, count > 4 ? arguments[4] : "EXAMPLE-1");
    for (int i = 0; i < VIEWS; i++)
        me_pixels_close(&shots[i].pixels);
    me_close(&bridge);
    return verdict;
}
