/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Rules M2 to M7 of docs/formats/chat.md: what a model is shown of a file, and of a directory. The
 * providers are played here; the bytes come through the tree. */
#include "tree-fixture.h"

#include <pthread.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "chat/content.h"
#include "provider/files.h"
#include "provider/want.h"

/* ---- providers ------------------------------------------------------------------------------- */

static char base[] = "https://x.example/v1", eye_text[] = "glm-4.6v", purpose[] = "file-extract",
            any_text[] = "*";
static char *any[] = {any_text, NULL};
static struct sf_provider_conf confs[3];
static struct sf_provider_confs all = {confs, 3};
static struct {
    _Atomic unsigned wants, texts, gone;
    const char *text;
    enum sf_provider_class want_fails, text_fails; /* the next one */
} fake;
static char last_sha[65];

const struct sf_provider_confs *__wrap_sf_providers_confs(const struct sf_providers *ps);
struct sf_provider *__wrap_sf_providers_one(struct sf_providers *ps, const char *name);
uint64_t __wrap_sf_want(struct sf_providers *ps, const char *provider,
                        const struct sf_want_file *file, const struct sf_want_how *how,
                        sf_wanted_fn fn, void *arg);
void __wrap_sf_want_cancel(struct sf_providers *ps, uint64_t id);
void __wrap_sf_want_gone(struct sf_providers *ps, const char *provider, const char *id);
uint64_t __wrap_sf_provider_file_text(struct sf_provider *p, const char *id, size_t limit,
                                      int64_t deadline_ms, sf_provider_text_fn fn, void *arg);
void __wrap_sf_provider_cancel(struct sf_provider *p, uint64_t id);

const struct sf_provider_confs *
__wrap_sf_providers_confs(const struct sf_providers *ps)
{
    (void)ps;
    return &all;
}

struct sf_provider *
__wrap_sf_providers_one(struct sf_providers *ps, const char *name)
{
    (void)ps;
    return sf_provider_conf_find(&all, name) ? (struct sf_provider *)&fake : NULL;
}

uint64_t
__wrap_sf_want(struct sf_providers *ps, const char *provider, const struct sf_want_file *file,
               const struct sf_want_how *how, sf_wanted_fn fn, void *arg)
{
    struct sf_wanted w = {.id = "f0"};
    char buf[64];
    (void)ps, (void)provider, (void)how;
    fake.wants++;
    ssize_t n = file->read(file->arg, buf, sizeof buf, 0);
    file->release(file->arg);
    if (n < 0)
        w.rc = sf_provider_fault_set(&w.fault, SF_PC_INVALID, "the content changed");
    else if (fake.want_fails)
        w.rc = sf_provider_fault_set(&w.fault, fake.want_fails, "refused");
    if (n == -ESTALE)
        w.rc = w.fault.err = -EBUSY;
    fake.want_fails = SF_PC_OK;
    memset(w.sha256, 'c', 64);
    fn(arg, &w);
    return 0;
}

void
__wrap_sf_want_cancel(struct sf_providers *ps, uint64_t id)
{
    (void)ps, (void)id;
}

void
__wrap_sf_want_gone(struct sf_providers *ps, const char *provider, const char *id)
{
    (void)ps, (void)provider;
    assert_string_equal(id, "f0");
    fake.gone++;
}

uint64_t
__wrap_sf_provider_file_text(struct sf_provider *p, const char *id, size_t limit,
                             int64_t deadline_ms, sf_provider_text_fn fn, void *arg)
{
    struct sf_provider_fault fault = {0};
    (void)p, (void)deadline_ms, (void)limit;
    assert_string_equal(id, "f0");
    fake.texts++;
    if (fake.text_fails)
        (void)sf_provider_fault_set(&fault, fake.text_fails, "no text");
    fake.text_fails = SF_PC_OK;
    fn(arg, &fault, fake.text, strlen(fake.text));
    return 1;
}

void
__wrap_sf_provider_cancel(struct sf_provider *p, uint64_t id)
{
    (void)p, (void)id;
}

/* ---- what is kept ---------------------------------------------------------------------------- */

static char kept_key[SF_CHAT_KEPT_KEY], kept_text[100];

static int
kept_get(void *arg, enum sf_chat_kept_table table, const char *key, struct sf_buf *out)
{
    (void)arg;
    assert_int_equal(table, SF_CHAT_KEPT_TEXTS);
    return strcmp(key, kept_key) ? -ENOENT : sf_buf_puts(out, kept_text);
}

static int
kept_put(void *arg, enum sf_chat_kept_table table, const char *key, const char *value, size_t len)
{
    (void)arg;
    assert_int_equal(table, SF_CHAT_KEPT_TEXTS);
    snprintf(kept_key, sizeof kept_key, "%s", key);
    snprintf(kept_text, sizeof kept_text, "%.*s", (int)len, value);
    return 0;
}

static const struct sf_chat_kept kept = {.get = kept_get, .put = kept_put};

/* ---- asking ---------------------------------------------------------------------------------- */

static struct sf_chat_content_args args;
static struct sf_chat_content content;
static struct sf_provider_fault fault;
static atomic_bool cancel, over;
static void (*meanwhile)(void); /* before each answer of the service */
static int result;

static bool
is_cancelled(void *arg)
{
    (void)arg;
    return cancel;
}

static void *
get_it(void *arg)
{
    (void)arg;
    result = sf_chat_content_get(&args, &content, &fault);
    over = true;
    return NULL;
}

static int
get(const char *file, const char *key, const char *provider)
{
    pthread_t thread;
    sf_chat_content_fini(&content);
    args.tree = tree;
    args.storage = (struct sf_storage *)&fake;
    if (!args.parent)
        args.parent = 1;
    args.file = file;
    args.key = key;
    args.provider = provider;
    args.cancelled = is_cancelled;
    if (!args.files_room)
        args.files_room = 10000;
    if (!args.file_tokens)
        args.file_tokens = 200000;
    args.deadline_ms = sf_clock_ms() + 20000;
    over = false;
    assert_int_equal(pthread_create(&thread, NULL, get_it, NULL), 0);
    while (!over) {
        if (meanwhile)
            meanwhile();
        if (!fake_step())
            usleep(200);
    }
    assert_int_equal(pthread_join(thread, NULL), 0);
    if (result) {
        assert_int_equal(fault.err, result);
        assert_true(fault.text[0]);
        assert_int_equal(content.pieces.len, 0);
    }
    return result;
}

static int
begin_ttl(int64_t ttl_ms)
{
    confs[0] = (struct sf_provider_conf){.name = "kimi", .model = any_text};
    confs[0].type = sf_provider_type_find("kimi");
    confs[1] = (struct sf_provider_conf){.name = "box", .model = any_text, .vision_models = any};
    confs[1].type = sf_provider_type_find("openai");
    confs[2] = (struct sf_provider_conf){.name = "eye", .model = eye_text};
    confs[2].type = sf_provider_type_find("glm");
    for (unsigned i = 0; i < 3; i++)
        confs[i].base_url = base;
    confs[0].purpose = purpose;
    memset(&args, 0, sizeof args);
    memset(&fake, 0, sizeof fake);
    memset(last_sha, 'c', 64);
    fake.text = "{\"content\":\"extracted\"}";
    kept_key[0] = '\0';
    cancel = false;
    meanwhile = NULL;
    fake_bucket("b");
    start_ttl("b", ttl_ms);
    return 0;
}

static int
setup(void **state)
{
    (void)state;
    return begin_ttl(60000);
}

static int
teardown(void **state)
{
    sf_chat_content_fini(&content);
    return end(state);
}

static void
repeat(char *out, size_t size, const char *what)
{
    size_t n = strlen(what);
    for (size_t i = 0; i < size - 1; i++)
        out[i] = what[i % n];
    out[size - 1] = '\0';
}

static const char *
note(size_t i)
{
    static char text[400];
    if (i >= content.notes.len)
        return "(none)";
    snprintf(text, sizeof text, "%s %s", content.notes.data[i].key, content.notes.data[i].value);
    return text;
}

static void
note_begins(size_t i, const char *with)
{
    if (strncmp(note(i), with, strlen(with)) != 0)
        fail_msg("note %zu: %s, not %s", i, note(i), with);
}

/* ---- a file ---------------------------------------------------------------------------------- */

static void
a_text_is_put_in_as_it_is(void **state)
{
    (void)state;
    fake_put_mime("b", "f.txt", "Some\ntext\n", "text/plain");
    assert_int_equal(get("f.txt", "b/f.txt", "box"), 0);
    assert_int_equal(content.pieces.len, 1);
    assert_string_equal(content.pieces.data[0].text.data, "File: b/f.txt\nSome\ntext\n");
    assert_int_equal(content.pieces.data[0].how, SF_CHAT_SHOWN_TEXT);
    assert_int_equal(content.notes.len, 1);
    note_begins(0, "file b/f.txt tokens=");
    assert_non_null(strstr(note(0), " how=text sha256="));
    assert_int_equal(strlen(content.pieces.data[0].sha256), 64);
    assert_int_equal(fake.wants, 0);
    /* The same again: the same bytes, and no word of a change. */
    struct sf_chat_notes before = content.notes;
    content.notes = (struct sf_chat_notes){0};
    args.before = &before;
    assert_int_equal(get("f.txt", "b/f.txt", "box"), 0);
    assert_string_equal(content.pieces.data[0].text.data, "File: b/f.txt\nSome\ntext\n");
    assert_int_equal(content.notes.len, 1);
    sf_chat_notes_free(&before);
}

/* M2 */
static void
a_new_version_is_noted(void **state)
{
    (void)state;
    end(NULL);
    begin_ttl(0);
    fake_put_mime("b", "f", "old", "text/plain");
    assert_int_equal(get("f", "b/f", "box"), 0);
    struct sf_chat_notes before = content.notes;
    content.notes = (struct sf_chat_notes){0};
    args.before = &before;
    fake_put_mime("b", "f", "newer", "text/plain");
    assert_int_equal(get("f", "b/f", "box"), 0);
    assert_string_equal(content.pieces.data[0].text.data, "File: b/f\nnewer");
    assert_string_equal(note(1), "changed b/f");
    sf_chat_notes_free(&before);
}

static void
of_no_type_but_text(void **state)
{
    (void)state;
    fake_put_mime("b", "f", "text", "application/octet-stream");
    fake_put_mime("b", "empty", "", "application/pdf");
    fake_put_mime("b", "bad.txt", "te\xffxt", "text/plain");
    assert_int_equal(get("f", "b/f", "box"), 0);
    assert_int_equal(get("empty", "b/empty", "box"), 0);
    assert_string_equal(content.pieces.data[0].text.data, "File: b/empty\n");
    assert_int_equal(get("bad.txt", "b/bad.txt", "box"), -ENOTSUP);
    assert_int_equal(fault.cls, SF_PC_TYPE);
    assert_non_null(strstr(fault.text, "b/bad.txt cannot be shown to box"));
    assert_int_equal(get("f", "b/f", "nobody"), -ENOENT);
    assert_int_equal(get("gone", "b/gone", "box"), -ESTALE);
}

static void
a_provider_extracts(void **state)
{
    (void)state;
    args.kept = &kept;
    fake_put_mime("b", "q.pdf", "%PDF", "application/pdf");
    args.dry = true; /* S8 */
    assert_int_equal(get("q.pdf", "b/q.pdf", "kimi"), 0);
    assert_int_equal(content.pieces.data[0].how, SF_CHAT_SHOWN_UNREAD);
    assert_int_equal(fake.wants + fake.texts, 0);
    args.dry = false;
    assert_int_equal(get("q.pdf", "b/q.pdf", "kimi"), 0);
    assert_string_equal(content.pieces.data[0].text.data,
                        "File: b/q.pdf\n{\"content\":\"extracted\"}");
    assert_int_equal(content.pieces.data[0].how, SF_CHAT_SHOWN_EXTRACTED);
    assert_string_equal(content.pieces.data[0].sha256, last_sha);
    assert_int_equal(fake.wants, 1);
    assert_int_equal(fake.texts, 1);
    /* The text is not asked for twice. */
    assert_int_equal(get("q.pdf", "b/q.pdf", "kimi"), 0);
    assert_int_equal(fake.texts, 1);
    assert_string_equal(content.pieces.data[0].text.data,
                        "File: b/q.pdf\n{\"content\":\"extracted\"}");
}

static void
what_a_provider_says_is_told(void **state)
{
    (void)state;
    fake_put_mime("b", "q.pdf", "%PDF", "application/pdf");
    fake.want_fails = SF_PC_QUOTA;
    assert_int_not_equal(get("q.pdf", "b/q.pdf", "kimi"), 0);
    assert_int_equal(fault.cls, SF_PC_QUOTA);
    fake.text_fails = SF_PC_EXTRACT;
    assert_int_not_equal(get("q.pdf", "b/q.pdf", "kimi"), 0);
    assert_int_equal(fault.cls, SF_PC_EXTRACT);
    /* An id that is not there any more is forgotten, and the file sent again. */
    fake.text_fails = SF_PC_NOT_FOUND;
    assert_int_equal(get("q.pdf", "b/q.pdf", "kimi"), 0);
    assert_int_equal(fake.gone, 1);
    assert_int_equal(fake.wants, 4);
}

static void
pictures_and_documents(void **state)
{
    (void)state;
    fake_put_mime("b", "p.png", "PNG", "image/png");
    fake_put_mime("b", "q.pdf", "%PDF", "application/pdf");
    assert_int_equal(get("p.png", "b/p.png", "box"), 0);
    assert_string_equal(content.pieces.data[0].text.data, "data:image/png;base64,UE5H");
    assert_int_equal(content.pieces.data[0].kind, SF_PP_IMAGE);
    assert_int_equal(content.pieces.data[0].tokens, 0);
    assert_int_equal(strlen(content.pieces.data[0].sha256), 64);
    assert_int_equal(get("q.pdf", "b/q.pdf", "box"), -ENOTSUP);
    assert_int_equal(get("q.pdf", "b/q.pdf", "eye"), 0);
    assert_int_equal(content.pieces.data[0].how, SF_CHAT_SHOWN_LINK);
    assert_int_equal(content.pieces.data[0].kind, SF_PP_FILE);
    assert_int_equal(strncmp(content.pieces.data[0].text.data, "https://", 8), 0);
    assert_int_equal(fake_counts.signs, 1);
    /* K11 */
    for (size_t i = 0; i < content.notes.len; i++)
        assert_null(strstr(note(i), "https"));
}

/* M2, also where only a link is sent, and the ETag of what was written here is not known yet. */
static void
a_new_version_behind_a_link_is_noted(void **state)
{
    struct sf_chat_notes before = {0};
    uint64_t n;
    (void)state;
    args.before = &before;
    for (unsigned i = 0; i < 3; i++) {
        if (i == 2)
            assert_int_equal(unlink_name(1, "q.pdf"), 0);
        struct sf_file *f = i != 1 ? create(1, "q.pdf", i ? "\xff new" : "\xff old", &n) : NULL;
        if (f) {
            assert_int_equal(flush(f), 0);
            sf_tree_release(tree, f);
        }
        assert_int_equal(get("q.pdf", "b/q.pdf", "eye"), 0);
        assert_int_equal(content.pieces.data[0].how, SF_CHAT_SHOWN_LINK);
        assert_true(strstr(note(0), " sha256=") || strstr(note(0), " etag="));
        assert_string_equal(note(1), i < 2 ? "(none)" : "changed b/q.pdf");
        sf_chat_notes_free(&before);
        before = content.notes;
        content.notes = (struct sf_chat_notes){0};
    }
    sf_chat_notes_free(&before);
}

/* M4 */
static void
long_texts_are_cut(void **state)
{
    char text[4001];
    (void)state;
    repeat(text, sizeof text, "A line with words.\n");
    fake_put_mime("b", "f", text, "text/plain");
    args.file_tokens = 100;
    assert_int_equal(get("f", "b/f", "box"), 0);
    assert_true(content.tokens <= 100 && content.tokens > 80);
    note_begins(0, "cut b/f: from byte ");
    note_begins(1, "file b/f tokens=");
}

static struct sf_file *writer;

static void
close_it(void)
{
    if (writer)
        sf_tree_release(tree, sf_steal(writer));
}

static void
what_is_being_changed_is_waited_for(void **state)
{
    uint64_t n;
    (void)state;
    writer = create(1, "w.txt", "text", &n);
    args.busy_ms = 300;
    assert_int_equal(get("w.txt", "b/w.txt", "box"), -EBUSY);
    args.busy_ms = 10000;
    meanwhile = close_it;
    assert_int_equal(get("w.txt", "b/w.txt", "box"), 0);
    assert_string_equal(content.pieces.data[0].text.data, "File: b/w.txt\ntext");
}

static int changes;

static void
change_it(void)
{
    char text[40];
    if (changes-- > 0) {
        snprintf(text, sizeof text, "version %d%.*s", changes % 10, changes % 7, "-------");
        fake_put_mime("b", "f", text, "text/plain");
    }
}

static void
what_changes_is_read_again(void **state)
{
    (void)state;
    end(NULL);
    begin_ttl(0);
    fake_put_mime("b", "f", "first", "text/plain");
    changes = 4;
    meanwhile = change_it;
    assert_int_equal(get("f", "b/f", "box"), 0);
    assert_string_equal(content.pieces.data[0].text.data, "File: b/f\nversion 0");
    changes = INT32_MAX;
    assert_int_equal(get("f", "b/f", "box"), -ESTALE);
    assert_non_null(strstr(fault.text, "changed"));
}

static void
cancelled_at_once(void **state)
{
    (void)state;
    fake_put_mime("b", "d/f", "text", "text/plain");
    cancel = true;
    args.parent = node(1, "d");
    assert_int_equal(get("", "b/d/", "box"), -ECANCELED);
}

/* ---- a directory ----------------------------------------------------------------------------- */

/* M5, M6 */
static void
files_in_the_order_of_their_keys(void **state)
{
    static const char *const left[] = {
        "left-out b/d/.chatignore: its name begins with a dot",
        "left-out b/d/.git/: its name begins with a dot",
        "left-out b/d/a/empty: it is empty",
        "left-out b/d/a/x.o: .chatignore",
        "left-out b/d/build/: .chatignore",
    };
    (void)state;
    fake_put_mime("b", "d/.chatignore", "*.o\nbuild/\n", "text/plain");
    fake_put_mime("b", "d/.git/config", "x", "text/plain");
    fake_put_mime("b", "d/a.txt", "a.txt", "text/plain");
    fake_put_mime("b", "d/a-b/f", "a-b", "text/plain");
    fake_put_mime("b", "d/a/.chatignore", "!keep.o\n", "text/plain");
    fake_put_mime("b", "d/a/empty", "", "text/plain");
    fake_put_mime("b", "d/a/keep.o", "kept", "text/plain");
    fake_put_mime("b", "d/a/x.o", "object", "text/plain");
    fake_put_mime("b", "d/build/f", "built", "text/plain");
    fake_put_mime("b", "d/p.png", "PNG", "image/png");
    fake_put_mime("b", "d/z", "last", "text/plain");
    args.parent = node(1, "d");
    assert_int_equal(get("", "b/d/", "box"), 0);
    static const char *const want[] = {"File: b/d/a-b/f\na-b", "File: b/d/a.txt\na.txt",
                                       "File: b/d/a/keep.o\nkept", "File: b/d/z\nlast"};
    assert_int_equal(content.pieces.len, 4);
    for (size_t i = 0; i < 4; i++)
        assert_string_equal(content.pieces.data[i].text.data, want[i]);
    for (size_t i = 0; i < sizeof left / sizeof *left; i++) {
        bool there = false;
        for (size_t k = 0; k < content.notes.len; k++)
            there |= strcmp(note(k), left[i]) == 0;
        if (!there)
            fail_msg("no note: %s", left[i]);
    }
    assert_string_equal(note(content.notes.len - 2),
                        "left-out b/d/p.png: neither text nor extractable");
    assert_int_equal(fake_counts.signs, 0);
    /* Where documents can be extracted they are taken. */
    assert_int_equal(get("", "b/d/", "kimi"), 0);
    assert_int_equal(content.pieces.len, 5);
    assert_int_equal(fake.texts, 1);
}

static void
while_they_fit(void **state)
{
    char key[40], text[3601];
    (void)state;
    repeat(text, sizeof text, "words of ");
    for (int i = 0; i < 30; i++) {
        snprintf(key, sizeof key, "d/%02d", i);
        fake_put_mime("b", key, i == 3 ? "short" : text, "text/plain");
    }
    args.parent = node(1, "d");
    args.files_room = 2000;
    assert_int_equal(get("", "b/d/", "box"), 0);
    assert_true(content.tokens <= 2000);
    assert_int_equal(content.pieces.len, 3);
    assert_string_equal(content.pieces.data[0].key, "b/d/00");
    assert_string_equal(content.pieces.data[2].key, "b/d/03");
    size_t left = 0;
    for (size_t i = 0; i < content.notes.len; i++)
        left += strncmp(note(i), "left-out", 8) == 0;
    assert_int_equal(left, 27);
    assert_true(fake_counts.gets < 25);
    /* Nothing fits: that is said. */
    args.files_room = 1;
    assert_int_equal(get("", "b/d/", "box"), -ENOTSUP);
}

static void
not_more_than_so_many(void **state)
{
    char key[64];
    (void)state;
    for (int i = 0; i < 210; i++) {
        snprintf(key, sizeof key, "d/%03d", i);
        fake_put_mime("b", key, key, "text/plain");
    }
    fake_put_mime("b", "deep/1/2/3/4/5/6/7/f", "f", "text/plain");
    fake_put_mime("b", "deep/1/2/3/4/5/6/7/8/f", "f", "text/plain");
    args.parent = node(1, "d");
    args.files_room = 100000;
    assert_int_equal(get("", "b/d/", "box"), 0);
    assert_int_equal(content.pieces.len, SF_CHAT_FILES_MAX);
    assert_string_equal(content.pieces.data[199].key, "b/d/199");
    assert_int_equal(content.notes.len, 210);
    args.parent = node(1, "deep");
    assert_int_equal(get("", "b/deep/", "box"), 0);
    assert_int_equal(content.pieces.len, 1);
    assert_string_equal(note(0), "left-out b/deep/1/2/3/4/5/6/7/8/: it lies too deep");
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_text_is_put_in_as_it_is),
        T(a_new_version_is_noted),
        T(of_no_type_but_text),
        T(a_provider_extracts),
        T(what_a_provider_says_is_told),
        T(a_new_version_behind_a_link_is_noted),
        T(pictures_and_documents),
        T(long_texts_are_cut),
        T(what_is_being_changed_is_waited_for),
        T(what_changes_is_read_again),
        T(cancelled_at_once),
        T(files_in_the_order_of_their_keys),
        T(while_they_fit),
        T(not_more_than_so_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
