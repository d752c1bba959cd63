/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/queue.h"

#include "base/clock.h"
#include "base/err.h"
#include "cmd/cmd.h"
#include "control/words.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* ---- words ---------------------------------------------------------------------------------- */

/* A name as one word, whatever is in it. */
static const char *
word(struct sf_buf *b, const char *bucket, const char *key)
{
    sf_autobuf struct sf_buf whole = SF_BUF_INIT;
    sf_buf_clear(b);
    if (!bucket || !*bucket)
        return "-";
    if (sf_buf_printf(&whole, "%s/%s", bucket, key ? key : "") || sf_words_append(b, whole.data))
        return "?";
    return b->data;
}

/* What becomes of it, as one word. */
static const char *
doing(const struct queue_print *p, const struct sf_pending_row *r, char out[32])
{
    char age[16];
    if (r->running && r->size)
        snprintf(out, 32, "uploading:%u%%", r->percent);
    else if (r->running)
        snprintf(out, 32, "running");
    else if (r->next_ms >= 0)
        snprintf(out, 32, "rests:%s", human_age((r->next_ms + 999) / 1000, age));
    else if (r->damaged || strcmp(r->state, "local") == 0 || strcmp(r->state, "refused") == 0)
        snprintf(out, 32, "%s", r->state);
    else
        snprintf(out, 32, "%s", p->offline ? "kept" : "waits");
    return out;
}

static int64_t
age_of(int64_t made_ns)
{
    return made_ns ? (sf_wall_ns() - made_ns) / 1000000000 : 0;
}

/* Of a note: "2026-11-21T09:13:45.678Z". */
static bool
age_of_text(const char *text, int64_t *age)
{
    struct tm tm = {0};
    if (!text || !strptime(text, "%Y-%m-%dT%H:%M:%S", &tm))
        return false;
    *age = (int64_t)(time(NULL) - timegm(&tm));
    return true;
}

/* ---- text ----------------------------------------------------------------------------------- */

static void
begin(struct queue_print *p)
{
    if (p->begun || p->json)
        return;
    p->begun = true;
    if ((p->titles || p->offline) && !p->show)
        say(stdout, "# %s%s", p->title, p->offline ? " (not mounted)" : "");
    if (p->tty && !p->show)
        printf("%7s %7s %6s %-10s %-14s %5s %s\n", "SEQ", "AGE", "SIZE", "KIND", "STATE", "TRIES",
               "OBJECT");
}

static void
print_change(struct queue_print *p, const struct sf_pending_row *r)
{
    sf_autobuf struct sf_buf from = SF_BUF_INIT, to = SF_BUF_INIT;
    char age[16], size[16], state[32];
    bool bytes = strcmp(r->kind, "content") == 0, moves = r->to_key && *r->to_key;
    bool why = r->reason && *r->reason;
    say(stdout, "%7" PRIu64 " %7s %6s %-10s %-14s %5u %s%s%s%s%s", r->seq,
        human_age(age_of(r->made_ns), age), bytes ? human_size(r->size, size) : "-", r->kind,
        doing(p, r, state), r->attempts, word(&from, r->bucket, r->key), moves ? " -> " : "",
        moves ? word(&to, r->to_bucket, r->to_key) : "", why ? "  " : "", why ? r->reason : "");
}

static void
print_all_of_it(struct queue_print *p, const struct sf_pending_row *r)
{
    sf_autobuf struct sf_buf from = SF_BUF_INIT, to = SF_BUF_INIT;
    char age[16], state[32], made[32];
    sf_time_format_ms(r->made_ns, made);
    say(stdout, "seq: %" PRIu64, r->seq);
    say(stdout, "kind: %s", r->kind);
    say(stdout, "journal: %s", r->state);
    say(stdout, "state: %s", doing(p, r, state));
    say(stdout, "object: %s", word(&from, r->bucket, r->key));
    if (r->to_key && *r->to_key)
        say(stdout, "to: %s", word(&to, r->to_bucket, r->to_key));
    if (strcmp(r->kind, "content") == 0)
        say(stdout, "size: %" PRIu64, r->size);
    if (r->file && *r->file)
        say(stdout, "bytes: %s/staging/%s", p->state_dir, r->file);
    say(stdout, "since: %s", made);
    say(stdout, "age: %s", human_age(age_of(r->made_ns), age));
    say(stdout, "attempts: %u", r->attempts);
    if (r->err)
        say(stdout, "errno: %s", sf_errno_name(r->err));
    if (r->reason && *r->reason)
        say(stdout, "reason: %s", r->reason);
}

static void
print_aside(const struct sf_quarantine_row *r)
{
    sf_autobuf struct sf_buf object = SF_BUF_INIT, path = SF_BUF_INIT;
    char age[16] = "-", size[16];
    int64_t seconds;
    if (age_of_text(r->time, &seconds))
        human_age(seconds, age);
    (void)sf_words_append(&path, r->path);
    say(stdout, "%7s %7s %6s %-10s %-14s %5s %s  %s  %s", "-", age, human_size(r->size, size),
        "content", "quarantine", "-", word(&object, r->bucket, r->key), sf_buf_str(&path),
        r->reason && *r->reason ? r->reason : "there is no note");
}

static void
print_sum(const struct queue_print *p)
{
    char size[16], age[16];
    if (!p->n && !p->n_aside)
        puts("nothing is pending");
    if (p->n)
        printf("# %" PRIu64 " change%s, %s, the oldest %s old\n", p->n, plural(p->n),
               human_size(p->bytes, size), human_age(age_of(p->oldest_ns), age));
    if (p->n_aside)
        printf("# %" PRIu64 " file%s in quarantine: look at %s, copy back what is needed, then "
               "remove file and note\n",
               p->n_aside, plural(p->n_aside), p->n_aside == 1 ? "it" : "them");
}

/* ---- JSON ----------------------------------------------------------------------------------- */

/* A name that is no UTF-8 is no JSON text: it is escaped, as in requests. */
static void
add_text(json_t *o, const char *name, const char *text)
{
    sf_autobuf struct sf_buf b = SF_BUF_INIT;
    if (!text || !*text)
        return;
    if (json_object_set_new(o, name, json_string(text)) == 0 || sf_words_append(&b, text))
        return;
    char escaped[64];
    snprintf(escaped, sizeof escaped, "%s_escaped", name);
    json_object_set_new(o, escaped, json_string(b.data));
}

static void
json_change(struct queue_print *p, const struct sf_pending_row *r)
{
    sf_autobuf struct sf_buf file = SF_BUF_INIT;
    char made[32];
    sf_time_format_ms(r->made_ns, made);
    json_t *o = json_pack("{s:I, s:s, s:s, s:I, s:s, s:I, s:I, s:b}", "seq", (json_int_t)r->seq,
                          "kind", r->kind, "state", r->state, "size", (json_int_t)r->size, "since",
                          made, "age_s", (json_int_t)age_of(r->made_ns), "attempts",
                          (json_int_t)r->attempts, "running", (int)r->running);
    add_text(o, "bucket", r->bucket);
    add_text(o, "key", r->key);
    add_text(o, "to_bucket", r->to_bucket);
    add_text(o, "to_key", r->to_key);
    if (r->running)
        json_object_set_new(o, "percent", json_integer(r->percent));
    if (r->next_ms >= 0)
        json_object_set_new(o, "next_try_ms", json_integer(r->next_ms));
    if (r->err)
        add_text(o, "errno", sf_errno_name(r->err));
    add_text(o, "reason", r->reason);
    if (r->file && *r->file && sf_buf_printf(&file, "%s/staging/%s", p->state_dir, r->file) == 0)
        add_text(o, "file", file.data);
    json_array_append_new(p->changes, o);
}

static void
json_aside(struct queue_print *p, const struct sf_quarantine_row *r)
{
    json_t *o = json_pack("{s:I}", "size", (json_int_t)r->size);
    add_text(o, "file", r->path);
    add_text(o, "bucket", r->bucket);
    add_text(o, "key", r->key);
    add_text(o, "time", r->time);
    add_text(o, "errno", r->err);
    add_text(o, "reason", r->reason);
    json_array_append_new(p->aside, o);
}

/* ---- places --------------------------------------------------------------------------------- */

void
queue_place(struct queue_print *p, const char *title, bool offline)
{
    p->title = title;
    p->offline = offline;
    p->state_dir[0] = '\0';
    p->begun = false;
    p->n = p->bytes = p->n_aside = 0;
    p->oldest_ns = 0;
    if (!p->places)
        p->places = json_array();
    p->changes = json_array();
    p->aside = json_array();
}

int
queue_change(void *arg, const struct sf_pending_row *r)
{
    struct queue_print *p = arg;
    begin(p);
    p->n++;
    p->bytes += r->size;
    if (r->made_ns && (!p->oldest_ns || r->made_ns < p->oldest_ns))
        p->oldest_ns = r->made_ns;
    if (p->json)
        json_change(p, r);
    else if (p->show)
        print_all_of_it(p, r);
    else
        print_change(p, r);
    return 0;
}

int
queue_aside(void *arg, const struct sf_quarantine_row *r)
{
    struct queue_print *p = arg;
    begin(p);
    p->n_aside++;
    if (p->json)
        json_aside(p, r);
    else
        print_aside(r);
    return 0;
}

void
queue_place_end(struct queue_print *p, bool named)
{
    json_t *o = json_object();
    if (named && p->titles)
        begin(p);
    if (!p->json && p->tty && !p->show && (p->begun || named))
        print_sum(p);
    if (!p->offline)
        add_text(o, "mountpoint", p->title);
    add_text(o, "state_dir", p->state_dir);
    json_object_set_new(o, "mounted", json_boolean(!p->offline));
    json_object_set_new(o, "changes", p->changes);
    json_object_set_new(o, "quarantine", p->aside);
    if (named || p->n || p->n_aside)
        json_array_append(p->places, o);
    json_decref(o);
    p->changes = p->aside = NULL;
}

void
queue_end(struct queue_print *p, bool many)
{
    json_t *root = many ? p->places : json_array_get(p->places, 0);
    if (p->json && p->show)
        root = json_array_get(json_object_get(json_array_get(p->places, 0), "changes"), 0);
    if (p->json && root) {
        say_json(root);
    } else if (p->json && many) {
        puts("[]");
    }
    json_decref(p->places);
    p->places = NULL;
}
