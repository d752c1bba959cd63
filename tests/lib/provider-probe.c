/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What src/provider makes of replies and names, for tests/integ/providers-words.sh. Reads records,
 * each a line "WHAT TYPE STATUS LENGTH RETRY-AFTER" and LENGTH bytes, and prints a line for each:
 *
 *   fault    the class of a reply, its errno, the milliseconds it says to wait, and the sentence
 *   file     a file object: state, id, bytes, purpose, name
 *   list     a page of a list: how many, what the next page is behind, whether there is one
 *   deleted  whether a DELETE of the id RETRY-AFTER was answered as it should be
 *   form     the length of the head and of the tail of an upload's form for a file of that name;
 *            then both follow
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "provider/error.h"
#include "provider/provider.h"

struct record {
    char what[16], type[32], retry_after[64];
    int status;
    size_t len;
    char *body;
};

static const char *
header(void *arg, const char *name)
{
    const struct record *record = arg;
    bool asked = strcmp(name, "retry-after") == 0 && strcmp(record->retry_after, "-") != 0;
    return asked ? record->retry_after : NULL;
}

static int
say_fault(struct record *record, const struct sf_provider_type *type)
{
    struct sf_provider_reply reply = {.status = record->status,
                                      .body = record->body,
                                      .len = record->len,
                                      .header = header,
                                      .arg = record};
    struct sf_provider_fault fault;
    sf_provider_fault_of(type, &reply, &fault);
    printf("%s\t%s\t%lld\t%s\n", sf_provider_class_info(fault.cls)->name,
           fault.err ? strerrorname_np(-fault.err) : "0", (long long)fault.retry_after_ms,
           fault.text);
    return 0;
}

static int
say_file(const struct record *record, const struct sf_provider_type *type)
{
    static const char *const states[] = {"ready", "pending", "failed"};
    struct sf_provider_file file;
    int rc = sf_provider_parse_file(type, record->body, record->len, &file);
    if (rc == 0)
        printf("%s\t%s\t%llu\t%s\t%s\n", states[file.state], file.id,
               (unsigned long long)file.bytes, file.purpose, file.filename);
    return rc;
}

static int
count_file(void *arg, const struct sf_provider_file *file)
{
    (void)file;
    ++*(unsigned *)arg;
    return 0;
}

static int
say_list(const struct record *record, const struct sf_provider_type *type)
{
    char after[SF_PROVIDER_ID_MAX + 1] = "";
    bool more = false;
    unsigned count = 0;
    int rc = sf_provider_parse_list(type, record->body, record->len, NULL, count_file, &count,
                                    after, &more);
    if (rc == 0)
        printf("%u\t%s\t%s\n", count, after, more ? "more" : "end");
    return rc;
}

static int
say_form(const struct record *record)
{
    char type_line[80];
    sf_autobuf struct sf_buf head = SF_BUF_INIT, tail = SF_BUF_INIT;
    int rc = sf_provider_form("file-extract", record->body, "text/plain", type_line, &head, &tail);
    if (rc == 0) {
        printf("%zu\t%zu\t%s\n", head.len, tail.len, type_line);
        fwrite(head.data, 1, head.len, stdout);
        fwrite(tail.data, 1, tail.len, stdout);
    }
    return rc;
}

static int
answer(struct record *record)
{
    const struct sf_provider_type *type = sf_provider_type_find(record->type);
    if (strcmp(record->what, "fault") == 0)
        return say_fault(record, type);
    if (strcmp(record->what, "form") == 0)
        return say_form(record);
    if (!type)
        return -EINVAL;
    if (strcmp(record->what, "file") == 0)
        return say_file(record, type);
    if (strcmp(record->what, "list") == 0)
        return say_list(record, type);
    if (strcmp(record->what, "deleted") != 0)
        return -EINVAL;
    int rc = sf_provider_parse_deleted(record->body, record->len, record->retry_after);
    if (rc == 0)
        puts("deleted");
    return rc;
}

int
main(void)
{
    struct record record;
    int fields;
    while ((fields = scanf("%15s %31s %d %zu %63s", record.what, record.type, &record.status,
                           &record.len, record.retry_after)) == 5) {
        sf_autofree char *body = calloc(1, record.len + 1);
        if (!body || getchar() != '\n' || fread(body, 1, record.len, stdin) != record.len)
            return 1;
        record.body = body;
        int rc = answer(&record);
        if (rc < 0)
            printf("%s\n", strerrorname_np(-rc));
        fflush(stdout);
    }
    return fields == EOF ? 0 : 2;
}
