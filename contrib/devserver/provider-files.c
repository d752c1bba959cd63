/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "form.h"
#include "json.h"
#include "provider-internal.h"
#include "reply.h"

#define FIELD_MAX 4096
#define MIB       INT64_C(1048576)
#define MS_OF_S   INT64_C(1000)

enum field { PURPOSE, FILE_TYPE, TOOL_TYPE, FIELDS };

static const char *const field_names[FIELDS] = {"purpose", "file_type", "tool_type"};

struct ds_provider_form {
    struct ds_request *req;
    struct ds_form *parser;
    EVP_MD_CTX *sha256;
    struct ds_buf value;
    char fields[FIELDS][64];
    enum field field; /* that is being read; FIELDS = none that counts */
    bool in_file, had_file;
    char filename[512], mime[128];
    int64_t size, keep; /* bytes that came, and how many of them are stored */
};

void
ds_provider_form_free(struct ds_provider_form *form)
{
    if (!form)
        return;
    ds_form_free(form->parser);
    EVP_MD_CTX_free(form->sha256);
    ds_buf_fini(&form->value);
    free(form);
}

static int64_t
now_ms(void)
{
    return ds_now_ms();
}

/* Files created earlier have expired. */
static int64_t
oldest_ms(const struct ds_provider_call *call)
{
    int64_t lifetime = ds_set_number(call, "lifetime_s");
    return lifetime > 0 ? now_ms() - lifetime * MS_OF_S : INT64_MIN;
}

/* ---- taking a form in ---- */

static int
on_begin(void *arg, const struct ds_form_part *part)
{
    struct ds_provider_form *form = arg;
    form->field = FIELDS;
    form->value.len = 0;
    form->in_file = false;
    if (part->name && strcmp(part->name, "file") == 0 && part->filename && !form->had_file) {
        const char *slash = strrchr(part->filename, '/');
        form->in_file = form->had_file = true;
        snprintf(form->filename, sizeof form->filename, "%s", slash ? slash + 1 : part->filename);
        snprintf(form->mime, sizeof form->mime, "%s", part->type);
        return 0;
    }
    for (enum field i = 0; i < FIELDS; i++)
        if (part->name && strcmp(part->name, field_names[i]) == 0)
            form->field = i;
    return 0;
}

static int
on_data(void *arg, const char *bytes, size_t len)
{
    struct ds_provider_form *form = arg;
    if (form->in_file) {
        form->size += (int64_t)len;
        EVP_DigestUpdate(form->sha256, bytes, len);
        /* What is too large anyway takes no room. */
        return form->keep > 0 && form->size > form->keep
                   ? 0
                   : ds_incoming_add(&form->req->incoming, bytes, len);
    }
    if (form->field != FIELDS && form->value.len + len <= FIELD_MAX)
        ds_buf_add(&form->value, bytes, len);
    return form->value.failed ? -ENOMEM : 0;
}

/* Errors quote it, so it must be text. */
static void
take_field(struct ds_provider_form *form)
{
    const char *value = form->value.data ? form->value.data : "";
    bool is_text = ds_utf8_valid(value, form->value.len) && form->value.len < 64;
    snprintf(form->fields[form->field], sizeof form->fields[0], "%.*s",
             is_text ? (int)form->value.len : 1, is_text ? value : "?");
}

static int
on_end(void *arg)
{
    struct ds_provider_form *form = arg;
    if (form->field != FIELDS)
        take_field(form);
    form->in_file = false;
    return 0;
}

static const struct ds_form_events events = {.begin = on_begin, .data = on_data, .end = on_end};

/* The largest file that any purpose allows; 0 = no limit. */
static int64_t
largest(const struct ds_provider_call *call)
{
    int64_t most = ds_set_number(call, "max_bytes");
    if (most > 0)
        return most;
    const char *purpose;
    json_t *limits;
    json_object_foreach((json_t *)(uintptr_t)ds_set_value(call, "limits"), purpose, limits)
    {
        int64_t bytes = ds_set_limit(call, purpose, "bytes");
        if (bytes == 0)
            return 0;
        most = bytes > most ? bytes : most;
    }
    return most;
}

void
ds_pfile_upload_begin(struct ds_request *req)
{
    const char *type = ds_request_header(req, "content-type");
    struct ds_provider_form *form = calloc(1, sizeof *form);
    int rc = -ENOMEM;
    req->provider->form = form;
    if (form) {
        form->req = req;
        form->field = FIELDS;
        form->keep = largest(req->provider);
        form->sha256 = EVP_MD_CTX_new();
        if (form->sha256 && EVP_DigestInit_ex(form->sha256, EVP_sha256(), NULL) == 1)
            rc = ds_form_new(type ? type : "", &events, form, &form->parser);
    }
    if (rc == 0) {
        rc = ds_incoming_init(&req->incoming, req->server->store, false);
        req->has_incoming = rc == 0;
    }
    if (rc == -EINVAL)
        ds_perror(req, DS_PE_INVALID, "the body is no multipart/form-data");
    else if (rc < 0)
        ds_perror(req, DS_PE_SERVER, NULL);
}

int
ds_pfile_upload_take(struct ds_request *req, const void *bytes, size_t len)
{
    int rc = req->reply.status == 0 ? ds_form_add(req->provider->form->parser, bytes, len) : 0;
    if (rc == -EBADMSG)
        ds_perror(req, DS_PE_INVALID, "a part of the form has no end of its head");
    else if (rc < 0)
        ds_perror(req, DS_PE_SERVER, NULL);
    return 0;
}

/* ---- judging it ---- */

static const char *
suffix_of(const char *filename)
{
    const char *dot = strrchr(filename, '.');
    return dot && dot != filename ? dot + 1 : "";
}

static bool
is_image(const char *suffix)
{
    return strcasecmp(suffix, "png") == 0 || strcasecmp(suffix, "jpg") == 0 ||
           strcasecmp(suffix, "jpeg") == 0;
}

static bool
is_type(const json_t *types, const char *suffix)
{
    size_t i;
    const json_t *entry;
    json_array_foreach((json_t *)(uintptr_t)types, i, entry)
    {
        const char *type = json_string_value(entry);
        if (type && strcasecmp(type, suffix) == 0)
            return true;
    }
    return false;
}

/* Whether the suffix is one of the purpose's; false when a reply is set. */
static bool
check_type(struct ds_request *req, const char *purpose, const char *suffix)
{
    const struct ds_provider_call *call = req->provider;
    const json_t *limits = json_object_get(ds_set_value(call, "limits"), purpose);
    const json_t *types = json_object_get(limits, "types");
    if (!types || is_type(types, suffix) || ds_set_is(call, "unknown_suffix", "accept"))
        return true;
    if (ds_set_is(call, "unknown_suffix", "fail"))
        ds_perror(req, DS_PE_EXTRACT, suffix);
    else
        ds_perrorf(req, DS_PE_TYPE, ".%s", suffix);
    return false;
}

static bool
check_size(struct ds_request *req, const char *purpose, int64_t size, bool image)
{
    const struct ds_provider_call *call = req->provider;
    int64_t most = ds_set_limit(call, purpose, "bytes");
    int64_t most_image = ds_set_limit(call, purpose, "image_bytes");
    if (image && most_image > 0)
        most = most_image;
    if (ds_set_number(call, "max_bytes") > 0)
        most = ds_set_number(call, "max_bytes");
    if (size == 0 && ds_set_is(call, "empty", "refuse"))
        ds_perror(req, DS_PE_EMPTY, NULL);
    else if (most > 0 && size > most && most % MIB == 0)
        ds_perrorf(req, DS_PE_TOO_LARGE, "%lldMB", (long long)(most / MIB));
    else if (most > 0 && size > most)
        ds_perrorf(req, DS_PE_TOO_LARGE, "%lld bytes", (long long)most);
    return req->reply.status == 0;
}

static bool
check_room(struct ds_request *req, const char *purpose, int64_t size)
{
    const struct ds_provider_call *call = req->provider;
    int64_t files = 0, bytes = 0, total = ds_set_number(call, "total_bytes");
    int64_t most = ds_set_number(call, "max_files");
    if (most == 0)
        most = ds_set_limit(call, purpose, "files");
    if (ds_db_pfile_usage(req->server->db, call->site->name, call->account, purpose,
                          oldest_ms(call), &files, &bytes) < 0)
        ds_perror(req, DS_PE_SERVER, NULL);
    else if (most > 0 && files >= most)
        ds_perrorf(req, DS_PE_COUNT, "%lld", (long long)most);
    else if (total > 0 && bytes + size > total)
        ds_perror(req, DS_PE_TOTAL, NULL);
    return req->reply.status == 0;
}

static bool
has_file(struct ds_request *req)
{
    const struct ds_provider_form *form = req->provider->form;
    if (!ds_form_is_complete(form->parser))
        ds_perror(req, DS_PE_INVALID, "the form has no end");
    else if (!form->had_file)
        ds_perror(req, DS_PE_INVALID, "file is required, with a file name");
    else if (!ds_utf8_valid(form->filename, strlen(form->filename)) ||
             !ds_utf8_valid(form->mime, strlen(form->mime)))
        ds_perror(req, DS_PE_INVALID, "the file's name or type is no UTF-8");
    return req->reply.status == 0;
}

/* ---- keeping it ---- */

static int
random_id(const struct ds_provider_call *call, char out[48])
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789";
    unsigned char raw[20];
    if (getrandom(raw, sizeof raw, 0) != (ssize_t)sizeof raw)
        return -EIO;
    if (ds_set_is(call, "id_style", "numeric")) {
        unsigned tail = raw[0] | (unsigned)raw[1] << 8 | (unsigned)(raw[2] & 0x7f) << 16;
        snprintf(out, 48, "%lld%07u", (long long)(now_ms() / MS_OF_S), tail);
        return 0;
    }
    size_t at = 0;
    if (ds_set_is(call, "id_style", "file"))
        at = (size_t)snprintf(out, 48, "file-");
    for (size_t i = 0; i < sizeof raw; i++)
        out[at++] = letters[raw[i] % (sizeof letters - 1)];
    out[at] = '\0';
    return 0;
}

/* When it is ready, if ever, and how long it stays. */
static void
set_fate(const struct ds_provider_call *call, struct ds_pfile *file)
{
    const struct ds_scenario *scenario;
    bool is_task = call->op != DS_OP_UPLOAD;
    file->uses = -1;
    file->polls = ds_set_number(call, is_task ? "parser_polls" : "pending_polls");
    file->ready_ms = file->created_ms + ds_set_number(call, "pending_ms");
    if (file->polls > 0 || file->ready_ms > file->created_ms)
        file->state = DS_PFILE_PENDING;
    if ((scenario = ds_scenario(call, "pending-then-ok"))) {
        file->state = DS_PFILE_PENDING;
        file->polls = scenario->a < 0 ? 2 : scenario->a;
    }
    if ((scenario = ds_scenario(call, "pending-then-fail"))) {
        file->state = DS_PFILE_FAILING;
        file->polls = scenario->a < 0 ? 2 : scenario->a;
    }
    if (ds_scenario(call, "pending-forever"))
        file->state = DS_PFILE_STUCK;
    if ((scenario = ds_scenario(call, "id-vanishes")))
        file->uses = scenario->a < 0 ? 0 : scenario->a;
}

/* The body as a file of the purpose; false when a reply is set. */
static bool
keep_file(struct ds_request *req, const char *purpose, struct ds_pfile *file)
{
    struct ds_provider_call *call = req->provider;
    struct ds_provider_form *form = call->form;
    unsigned char digest[EVP_MAX_MD_SIZE];
    char md5[33];
    *file = (struct ds_pfile){.size = form->size, .created_ms = now_ms()};
    snprintf(file->site, sizeof file->site, "%s", call->site->name);
    snprintf(file->account, sizeof file->account, "%s", call->account);
    snprintf(file->purpose, sizeof file->purpose, "%s", purpose);
    snprintf(file->filename, sizeof file->filename, "%s", form->filename);
    snprintf(file->mime, sizeof file->mime, "%s", form->mime);
    snprintf(file->version, sizeof file->version, "%s", req->incoming.version);
    EVP_DigestFinal_ex(form->sha256, digest, NULL);
    ds_hex(digest, 32, file->sha256);
    set_fate(call, file);
    int rc = random_id(call, file->id);
    if (rc == 0)
        rc = ds_incoming_commit(&req->incoming, md5);
    if (rc == 0)
        rc = ds_db_pfile_insert(req->server->db, file);
    if (rc < 0) {
        fprintf(stderr, "supafs-devserver: keep a provider's file: %s\n", strerror(-rc));
        ds_perror(req, DS_PE_SERVER, NULL);
    }
    return rc == 0;
}

static json_t *
file_object(const struct ds_provider_call *call, const struct ds_pfile *file)
{
    const char *status = ds_set_text(call, file->state == DS_PFILE_READY    ? "status_ready"
                                           : file->state == DS_PFILE_FAILED ? "status_failed"
                                                                            : "status_pending");
    json_t *json =
        json_pack("{s:s, s:s, s:I, s:I, s:s, s:s}", "id", file->id, "object", "file", "bytes",
                  (json_int_t)file->size, "created_at", (json_int_t)(file->created_ms / MS_OF_S),
                  "filename", file->filename, "purpose", file->purpose);
    if (ds_set_bool(call, "status_shown")) {
        json_object_set_new(json, "status", json_string(status));
        json_object_set_new(json, "status_details",
                            json_string(file->state == DS_PFILE_FAILED
                                            ? "Failed to extract file: no text in it"
                                            : ""));
    }
    return json;
}

void
ds_pfile_upload(struct ds_request *req)
{
    struct ds_provider_call *call = req->provider;
    const struct ds_provider_form *form = call->form;
    const char *purpose = form->fields[PURPOSE], *suffix = suffix_of(form->filename);
    struct ds_pfile file;
    if (!has_file(req))
        return;
    if (!json_object_get(ds_set_value(call, "limits"), purpose)) {
        ds_perror(req, DS_PE_PURPOSE, purpose);
        return;
    }
    if (!check_size(req, purpose, form->size, is_image(suffix)) ||
        !check_type(req, purpose, suffix) || !check_room(req, purpose, form->size) ||
        !keep_file(req, purpose, &file))
        return;
    ds_providers_note_upload(req->server->providers, call->index, &file);
    ds_provider_reply(req, 200, file_object(call, &file));
}

bool
ds_pfile_take_task(struct ds_request *req, struct ds_pfile *task)
{
    const struct ds_provider_form *form = req->provider->form;
    static const char *const tools[] = {"lite", "expert", "prime", "prime-sync"};
    size_t i = 0;
    if (!has_file(req) || !check_size(req, DS_PFILE_TASK, form->size, false))
        return false;
    while (i < 4 && strcmp(tools[i], form->fields[TOOL_TYPE]) != 0)
        i++;
    if (i == 4 || !form->fields[FILE_TYPE][0]) {
        ds_perror(req, DS_PE_INVALID, "tool_type and file_type are needed");
        return false;
    }
    return keep_file(req, DS_PFILE_TASK, task);
}

/* ---- looking at files ---- */

int
ds_pfile_find(struct ds_request *req, const char *id, bool poll, struct ds_pfile *ret)
{
    const struct ds_provider_call *call = req->provider;
    int rc =
        ds_db_pfile_use(req->server->db, call->site->name, call->account, id, poll, now_ms(), ret);
    return rc == 0 && ret->created_ms < oldest_ms(call) ? -ENOENT : rc;
}

/* The file of the path, no task; false when a reply is set. */
static bool
require_file(struct ds_request *req, bool poll, struct ds_pfile *file)
{
    const char *id = req->provider->id;
    int rc = ds_pfile_find(req, id ? id : "", poll, file);
    if (rc == 0 && strcmp(file->purpose, DS_PFILE_TASK) != 0)
        return true;
    ds_perror(req, rc == 0 || rc == -ENOENT ? DS_PE_NOT_FOUND : DS_PE_SERVER, id);
    return false;
}

void
ds_pfile_get(struct ds_request *req)
{
    struct ds_pfile file;
    if (require_file(req, true, &file))
        ds_provider_reply(req, 200, file_object(req->provider, &file));
}

void
ds_pfile_delete(struct ds_request *req)
{
    const struct ds_provider_call *call = req->provider;
    struct ds_pfile file;
    if (!require_file(req, false, &file))
        return;
    int rc = ds_db_pfile_delete(req->server->db, call->site->name, call->account, file.id, &file);
    if (rc < 0) {
        ds_perror(req, rc == -ENOENT ? DS_PE_NOT_FOUND : DS_PE_SERVER, file.id);
        return;
    }
    ds_store_remove(req->server->store, file.version);
    ds_provider_reply(req, 200,
                      json_pack("{s:s, s:s, s:b}", "id", file.id, "object", "file", "deleted", 1));
}

struct page {
    struct ds_pfile *rows;
    size_t count, room;
    bool failed;
};

static void
add_row(void *arg, const struct ds_pfile *file)
{
    struct page *page = arg;
    if (page->count == page->room) {
        size_t room = page->room ? 2 * page->room : 64;
        void *grown = realloc(page->rows, room * sizeof *page->rows);
        if (!grown) {
            page->failed = true;
            return;
        }
        page->rows = grown;
        page->room = room;
    }
    page->rows[page->count++] = *file;
}

/* Where the page begins and how long it is; false when a reply is set. */
static bool
read_paging(struct ds_request *req, struct ds_pfile_query *query)
{
    const struct ds_provider_call *call = req->provider;
    const char *after = ds_request_query(req, "after"), *limit = ds_request_query(req, "limit");
    int page = (int)ds_set_number(call, "page");
    struct ds_pfile file;
    query->limit = page;
    if (!ds_set_bool(call, "paging"))
        return true;
    if (limit) {
        char *end;
        long n = strtol(limit, &end, 10);
        if (*limit == '\0' || *end != '\0' || n < 1 || n > 10000 ||
            (call->flavour == DS_FLAVOUR_GLM && n > 100)) {
            ds_perrorf(req, DS_PE_INVALID, "limit %s", limit);
            return false;
        }
        query->limit = (int)n;
    }
    if (!after || !*after)
        return true;
    if (ds_db_pfile_get(req->server->db, call->site->name, call->account, after, &file) < 0) {
        ds_perrorf(req, DS_PE_INVALID, "after %s", after);
        return false;
    }
    query->before = file.seq;
    return true;
}

void
ds_pfile_list(struct ds_request *req)
{
    struct ds_provider_call *call = req->provider;
    struct page page = {0};
    struct ds_pfile_query query = {.site = call->site->name,
                                   .account = call->account,
                                   .purpose = ds_request_query(req, "purpose"),
                                   .before = INT64_MAX,
                                   .since_ms = oldest_ms(call)};
    if (!read_paging(req, &query))
        return;
    int limit = query.limit++;
    int rc = ds_db_pfile_list(req->server->db, &query, add_row, &page);
    sf_autofree struct ds_pfile *rows = page.rows;
    if (rc < 0 || page.failed) {
        ds_perror(req, DS_PE_SERVER, NULL);
        return;
    }
    bool more = page.count > (size_t)limit;
    json_t *data = json_array();
    for (size_t i = 0; i < page.count && i < (size_t)limit; i++) {
        bool pending = rows[i].state == DS_PFILE_PENDING || rows[i].state == DS_PFILE_FAILING;
        /* Where there is nothing else to ask, a listing is what a client waits with. */
        if (pending)
            ds_pfile_find(req, rows[i].id, true, &rows[i]);
        json_array_append_new(data, file_object(call, &rows[i]));
    }
    json_t *reply = json_pack("{s:s, s:o}", "object", "list", "data", data);
    if (call->index == DS_PROVIDER_OPENAI) {
        const json_t *first = json_array_get(data, 0);
        const json_t *last = json_array_get(data, json_array_size(data) - 1);
        json_object_update_new(reply,
                               json_pack("{s:O?, s:O?}", "first_id", json_object_get(first, "id"),
                                         "last_id", json_object_get(last, "id")));
    }
    if (ds_set_bool(call, "paging"))
        json_object_set_new(reply, "has_more", json_boolean(more));
    ds_provider_reply(req, 200, reply);
}

/* ---- content ---- */

char *
ds_pfile_extract(struct ds_request *req, const struct ds_pfile *file)
{
    uint64_t size;
    sf_autofd int fd = ds_store_open_version(req->server->store, file->version, &size);
    if (fd < 0)
        return NULL;
    int64_t most = ds_set_number(req->provider, "extract_bytes");
    size_t len = size < (uint64_t)most ? (size_t)size : (size_t)most;
    sf_autofree char *text = malloc(len + 1);
    size_t got = 0;
    while (text && got < len) {
        ssize_t n = pread(fd, text + got, len - got, (off_t)got);
        if (n <= 0)
            return NULL;
        got += (size_t)n;
    }
    if (!text)
        return NULL;
    /* A cut may be within a character. */
    for (int i = 0; i < 3 && len < size && !ds_utf8_valid(text, len); i++)
        len--;
    text[len] = '\0';
    if (ds_utf8_valid(text, len) && !memchr(text, '\0', len))
        return sf_steal(text);
    char *said = NULL;
    if (asprintf(&said, "[the text of %s: %lld bytes, sha256 %s]", file->filename,
                 (long long)file->size, file->sha256) < 0)
        return NULL;
    return said;
}

static void
reply_bytes(struct ds_request *req, const struct ds_pfile *file)
{
    uint64_t size = 0;
    int fd = ds_store_open_version(req->server->store, file->version, &size);
    if (fd < 0) {
        ds_perror(req, DS_PE_SERVER, NULL);
        return;
    }
    req->reply.status = 200;
    req->reply.fd = fd;
    req->reply.fd_len = size;
    ds_reply_header(req, "content-type", "application/octet-stream");
}

static void
reply_extracted(struct ds_request *req, const struct ds_pfile *file)
{
    const struct ds_provider_call *call = req->provider;
    sf_autofree char *text = ds_pfile_extract(req, file);
    if (!text) {
        ds_perror(req, DS_PE_EXTRACT, file->filename);
        return;
    }
    if (ds_set_is(call, "content_form", "text")) {
        ds_reply_text(req, 200, "text/plain; charset=utf-8", text);
        return;
    }
    ds_autojson *json = json_pack("{s:s, s:s}", "content", text, "filename", file->filename);
    if (ds_set_is(call, "content_form", "json")) {
        json_object_set_new(json, "file_type", json_string(file->mime));
        json_object_set_new(json, "title", json_string(""));
        json_object_set_new(json, "type", json_string("file"));
    }
    sf_autofree char *body = json ? json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
    ds_reply_text(req, body ? 200 : 500, "text/plain; charset=utf-8", body ? body : "");
}

void
ds_pfile_content(struct ds_request *req)
{
    const struct ds_provider_call *call = req->provider;
    struct ds_pfile file;
    if (!require_file(req, false, &file))
        return;
    if (!ds_set_has(call, "content_of", file.purpose)) {
        ds_perrorf(req, DS_PE_INVALID, "no content of files with purpose %s", file.purpose);
    } else if (file.state == DS_PFILE_FAILED) {
        ds_perror(req, DS_PE_EXTRACT, file.filename);
    } else if (file.state != DS_PFILE_READY) {
        ds_perror(req, DS_PE_INVALID, "the file is still being processed");
    } else {
        ds_providers_note_content(req->server->providers, call->index, file.id);
        if (strcmp(file.purpose, "file-extract") == 0)
            reply_extracted(req, &file);
        else
            reply_bytes(req, &file);
    }
}
