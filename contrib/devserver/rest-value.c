/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "rest-value.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "json.h"
#include "rest.h"

void
ds_value_fini(struct ds_value *value)
{
    free(value->text);
    *value = DS_NULL;
}

struct ds_value
ds_value_number(int64_t number)
{
    return (struct ds_value){.kind = DS_VALUE_NUMBER, .number = number};
}

struct ds_value
ds_value_text(const char *text)
{
    char *copy = text ? strdup(text) : NULL;
    return copy ? (struct ds_value){.kind = DS_VALUE_TEXT, .text = copy} : DS_NULL;
}

struct ds_value
ds_value_copy(const struct ds_value *value)
{
    return value->kind == DS_VALUE_TEXT ? ds_value_text(value->text) : *value;
}

const char *
ds_type_name(enum ds_type type)
{
    static const char *const names[] = {
        [DS_TEXT] = "text",
        [DS_UUID] = "uuid",
        [DS_BIGINT] = "bigint",
        [DS_INTEGER] = "integer",
        [DS_TIME] = "timestamp with time zone",
        [DS_JSONB] = "jsonb",
        [DS_TEXTS] = "text[]",
        [DS_BOOLEAN] = "boolean",
    };
    return names[type];
}

/* ---- writing ---- */

static int
compare_members(const void *a, const void *b)
{
    const char *left = *(const char *const *)a, *right = *(const char *const *)b;
    size_t n = strlen(left), m = strlen(right);
    return n != m ? (n < m ? -1 : 1) : strcmp(left, right);
}

static void
write_object(struct ds_buf *out, const json_t *json)
{
    sf_autofree const char **names = calloc(json_object_size(json) + 1, sizeof *names);
    if (!names) {
        out->failed = true;
        return;
    }
    size_t n = 0;
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)json, name, value) names[n++] = name;
    if (n > 0)
        qsort(names, n, sizeof *names, compare_members);
    ds_buf_adds(out, "{");
    for (size_t i = 0; i < n; i++) {
        ds_buf_adds(out, i > 0 ? ", " : "");
        ds_buf_add_json(out, names[i]);
        ds_buf_adds(out, ": ");
        ds_jsonb_write(out, json_object_get(json, names[i]));
    }
    ds_buf_adds(out, "}");
}

void
ds_jsonb_write(struct ds_buf *out, const json_t *json)
{
    switch (json_typeof(json)) {
    case JSON_OBJECT:
        write_object(out, json);
        break;
    case JSON_ARRAY:
        ds_buf_adds(out, "[");
        for (size_t i = 0; i < json_array_size(json); i++) {
            ds_buf_adds(out, i > 0 ? ", " : "");
            ds_jsonb_write(out, json_array_get(json, i));
        }
        ds_buf_adds(out, "]");
        break;
    case JSON_STRING:
        ds_buf_add_json_n(out, json_string_value(json), json_string_length(json));
        break;
    case JSON_INTEGER:
        ds_buf_addf(out, "%lld", (long long)json_integer_value(json));
        break;
    case JSON_REAL:
        ds_buf_addf(out, "%.15g", json_real_value(json));
        break;
    default:
        ds_buf_adds(out, json_is_true(json) ? "true" : json_is_false(json) ? "false" : "null");
    }
}

void
ds_time_write(struct ds_buf *out, int64_t us, bool json)
{
    int64_t seconds = us / 1000000, fraction = us % 1000000;
    if (fraction < 0) {
        fraction += 1000000;
        seconds--;
    }
    struct tm tm;
    time_t t = (time_t)seconds;
    gmtime_r(&t, &tm);
    ds_buf_addf(out, "%04d-%02d-%02d%c%02d:%02d:%02d", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday,
                json ? 'T' : ' ', tm.tm_hour, tm.tm_min, tm.tm_sec);
    if (fraction > 0) {
        char digits[8];
        int n = snprintf(digits, sizeof digits, "%06d", (int)(fraction % 1000000));
        while (n > 0 && digits[n - 1] == '0')
            digits[--n] = '\0';
        ds_buf_addf(out, ".%s", digits);
    }
    ds_buf_adds(out, json ? "+00:00" : "+00");
}

/* text[] in a reply has no blanks, jsonb has. */
static void
write_texts(struct ds_buf *out, const char *text)
{
    ds_autojson *array = json_loads(text, 0, NULL);
    ds_buf_adds(out, "[");
    for (size_t i = 0; i < json_array_size(array); i++) {
        ds_buf_adds(out, i > 0 ? "," : "");
        ds_buf_add_json(out, json_string_value(json_array_get(array, i)));
    }
    ds_buf_adds(out, "]");
}

void
ds_value_write(struct ds_buf *out, enum ds_type type, const struct ds_value *value)
{
    if (value->kind == DS_VALUE_NULL) {
        ds_buf_adds(out, "null");
    } else if (type == DS_TIME) {
        ds_buf_adds(out, "\"");
        ds_time_write(out, value->number, true);
        ds_buf_adds(out, "\"");
    } else if (type == DS_BOOLEAN) {
        ds_buf_adds(out, value->number ? "true" : "false");
    } else if (value->kind == DS_VALUE_NUMBER) {
        ds_buf_addf(out, "%lld", (long long)value->number);
    } else if (type == DS_JSONB) {
        ds_buf_adds(out, value->text);
    } else if (type == DS_TEXTS) {
        write_texts(out, value->text);
    } else {
        ds_buf_add_json(out, value->text);
    }
}

/* An element of an array as PostgreSQL prints it. */
static void
print_element(struct ds_buf *out, const char *text)
{
    if (!text) {
        ds_buf_adds(out, "NULL");
        return;
    }
    bool plain = *text && strcasecmp(text, "null") != 0 && !strpbrk(text, "{},\"\\ \t\n\r\v\f");
    if (plain) {
        ds_buf_adds(out, text);
        return;
    }
    ds_buf_adds(out, "\"");
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            ds_buf_adds(out, "\\");
        ds_buf_add(out, text, 1);
    }
    ds_buf_adds(out, "\"");
}

void
ds_value_print(struct ds_buf *out, enum ds_type type, const struct ds_value *value)
{
    if (value->kind == DS_VALUE_NULL) {
        ds_buf_adds(out, "null");
    } else if (type == DS_TIME) {
        ds_time_write(out, value->number, false);
    } else if (type == DS_BOOLEAN) {
        ds_buf_adds(out, value->number ? "t" : "f");
    } else if (value->kind == DS_VALUE_NUMBER) {
        ds_buf_addf(out, "%lld", (long long)value->number);
    } else if (type == DS_TEXTS) {
        ds_autojson *array = json_loads(value->text, 0, NULL);
        ds_buf_adds(out, "{");
        for (size_t i = 0; i < json_array_size(array); i++) {
            ds_buf_adds(out, i > 0 ? "," : "");
            print_element(out, json_string_value(json_array_get(array, i)));
        }
        ds_buf_adds(out, "}");
    } else {
        ds_buf_adds(out, value->text);
    }
}

/* ---- reading ---- */

static bool
bad_literal(struct ds_rest *rest, enum ds_type type, const char *text)
{
    return ds_rest_fail(rest, type == DS_TIME ? "22007" : "22P02", NULL, NULL,
                        "invalid input syntax for type %s: \"%s\"", ds_type_name(type), text);
}

static bool
read_number(struct ds_rest *rest, enum ds_type type, const char *text, struct ds_value *ret)
{
    const char *digits = text + strspn(text, " \t\n");
    char *end;
    errno = 0;
    long long number = strtoll(digits, &end, 10);
    bool overflow = errno == ERANGE;
    if (end == digits || end[strspn(end, " \t\n")] != '\0')
        return bad_literal(rest, type, text);
    if (overflow || (type == DS_INTEGER && (number > INT32_MAX || number < INT32_MIN)))
        return ds_rest_fail(rest, "22003", NULL, NULL, "value \"%s\" is out of range for type %s",
                            text, ds_type_name(type));
    *ret = ds_value_number(number);
    return true;
}

/* Behind the time of day: nothing, Z, or an offset with or without minutes, in seconds. */
static bool
read_zone(const char *text, int *ret)
{
    int hours = 0, minutes = 0, used = 0;
    *ret = 0;
    if (*text == '\0' || strcasecmp(text, "z") == 0 || strcasecmp(text, " utc") == 0)
        return true;
    if ((*text != '+' && *text != '-') || !isdigit((unsigned char)text[1]))
        return false;
    if (sscanf(text + 1, "%2d%n:%2d%n", &hours, &used, &minutes, &used) < 1)
        return false;
    if (minutes == 0 && used == 2 && isdigit((unsigned char)text[3])) {
        int more = 0;
        if (sscanf(text + 3, "%2d%n", &minutes, &more) != 1)
            return false;
        used += more;
    }
    if (text[1 + used] != '\0')
        return false;
    *ret = (hours * 60 + minutes) * 60 * (*text == '-' ? -1 : 1);
    return true;
}

static bool
read_time(struct ds_rest *rest, const char *text, struct ds_value *ret)
{
    struct tm tm = {0};
    int used = 0, zone = 0;
    int64_t fraction = 0;
    if (sscanf(text, "%4d-%2d-%2d%n", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &used) != 3)
        return bad_literal(rest, DS_TIME, text);
    const char *at = text + used;
    if (*at == 'T' || *at == ' ' || *at == 't') {
        used = 0;
        if (sscanf(at + 1, "%2d:%2d%n:%2d%n", &tm.tm_hour, &tm.tm_min, &used, &tm.tm_sec, &used) <
            2)
            return bad_literal(rest, DS_TIME, text);
        at += 1 + used;
    }
    if (*at == '.') {
        int64_t unit = 100000;
        for (at++; isdigit((unsigned char)*at); at++, unit /= 10)
            fraction += (*at - '0') * unit;
    }
    if (!read_zone(at, &zone))
        return bad_literal(rest, DS_TIME, text);
    bool in_year = tm.tm_mon >= 1 && tm.tm_mon <= 12 && tm.tm_mday >= 1 && tm.tm_mday <= 31;
    int day = tm.tm_mday;
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    int64_t seconds = timegm(&tm); /* brings what is out of range into it */
    if (!in_year || tm.tm_mday != day)
        return ds_rest_fail(rest, "22008", NULL,
                            in_year ? NULL : "Perhaps you need a different \"datestyle\" setting.",
                            "date/time field value out of range: \"%s\"", text);
    *ret = ds_value_number((seconds - zone) * 1000000 + fraction);
    return true;
}

static bool
read_uuid(struct ds_rest *rest, const char *text, struct ds_value *ret)
{
    char lower[DS_UUID_SIZE] = "";
    if (strlen(text) == sizeof lower - 1)
        for (size_t i = 0; text[i]; i++)
            lower[i] = (char)tolower((unsigned char)text[i]);
    if (!ds_is_uuid(lower))
        return bad_literal(rest, DS_UUID, text);
    *ret = ds_value_text(lower);
    return true;
}

static bool
read_boolean(struct ds_rest *rest, const char *text, struct ds_value *ret)
{
    static const char *const words[] = {"false", "f", "no",  "off", "0",
                                        "true",  "t", "yes", "on",  "1"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strcasecmp(words[i], text) == 0) {
            *ret = ds_value_number(i >= 5);
            return true;
        }
    }
    return bad_literal(rest, DS_BOOLEAN, text);
}

static bool
malformed_array(struct ds_rest *rest, const char *text, const char *details)
{
    return ds_rest_fail(rest, "22P02", details, NULL, "malformed array literal: \"%s\"", text);
}

/* One element of {a,"b c",NULL}; returns what is behind it, NULL when it does not end. */
static const char *
read_element(const char *at, json_t *array)
{
    ds_autobuf text = DS_BUF_INIT;
    bool quoted = *at == '"';
    at += quoted;
    while (*at && (quoted ? *at != '"' : *at != ',' && *at != '}')) {
        if (*at == '\\' && !*++at)
            return NULL;
        ds_buf_add(&text, at++, 1);
    }
    if (!*at)
        return NULL;
    while (!quoted && text.len > 0 && isspace((unsigned char)text.data[text.len - 1]))
        text.data[--text.len] = '\0';
    const char *value = text.data ? text.data : "";
    json_array_append_new(array, !quoted && strcasecmp(value, "null") == 0 ? json_null()
                                                                           : json_string(value));
    at += quoted;
    return at + strspn(at, " \t\n");
}

static bool
read_texts(struct ds_rest *rest, const char *text, struct ds_value *ret)
{
    ds_autojson *array = json_array();
    const char *at = text + strspn(text, " \t\n");
    if (*at != '{')
        return malformed_array(rest, text,
                               "Array value must start with \"{\" or dimension information.");
    at++;
    at += strspn(at, " \t\n");
    while (at && *at && *at != '}') {
        at = read_element(at, array);
        if (at && *at == ',') {
            at++;
            at += strspn(at, " \t\n");
        } else if (at && *at && *at != '}') {
            return malformed_array(rest, text, "Unexpected array element.");
        }
    }
    if (!at || !*at)
        return malformed_array(rest, text, "Unexpected end of input.");
    if (at[1 + strspn(at + 1, " \t\n")] != '\0')
        return malformed_array(rest, text, "Junk after closing right brace.");
    ds_autobuf out = DS_BUF_INIT;
    ds_jsonb_write(&out, array);
    *ret = ds_value_text(out.data);
    return true;
}

static bool
read_jsonb(struct ds_rest *rest, const char *text, struct ds_value *ret)
{
    ds_autojson *json = json_loads(text, JSON_DECODE_ANY, NULL);
    if (!json)
        return ds_rest_fail(rest, "22P02", NULL, NULL, "invalid input syntax for type json");
    ds_autobuf out = DS_BUF_INIT;
    ds_jsonb_write(&out, json);
    *ret = ds_value_text(out.data);
    return true;
}

bool
ds_value_read(struct ds_rest *rest, enum ds_type type, const char *text, struct ds_value *ret)
{
    switch (type) {
    case DS_UUID:
        return read_uuid(rest, text, ret);
    case DS_BIGINT:
    case DS_INTEGER:
        return read_number(rest, type, text, ret);
    case DS_TIME:
        return read_time(rest, text, ret);
    case DS_BOOLEAN:
        return read_boolean(rest, text, ret);
    case DS_TEXTS:
        return read_texts(rest, text, ret);
    case DS_JSONB:
        return read_jsonb(rest, text, ret);
    default:
        *ret = ds_value_text(text);
        return true;
    }
}

/* What is no string is taken by its JSON text. */
static char *
text_of(const json_t *json)
{
    return json_is_string(json) ? strdup(json_string_value(json))
                                : json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY);
}

static bool
texts_from_array(const json_t *json, struct ds_value *ret)
{
    ds_autojson *array = json_array();
    for (size_t i = 0; i < json_array_size(json); i++) {
        const json_t *element = json_array_get(json, i);
        sf_autofree char *text = json_is_null(element) ? NULL : text_of(element);
        json_array_append_new(array, text ? json_string(text) : json_null());
    }
    ds_autobuf out = DS_BUF_INIT;
    ds_jsonb_write(&out, array);
    *ret = ds_value_text(out.data);
    return true;
}

bool
ds_value_from_json(struct ds_rest *rest, enum ds_type type, const json_t *json,
                   struct ds_value *ret)
{
    if (!json || json_is_null(json)) {
        *ret = DS_NULL;
        return true;
    }
    if (type == DS_TEXTS && json_is_array(json))
        return texts_from_array(json, ret);
    if (type == DS_TEXTS && !json_is_string(json))
        return ds_rest_fail(rest, "22P02", NULL, NULL, "expected JSON array");
    if (type == DS_JSONB) {
        ds_autobuf out = DS_BUF_INIT;
        ds_jsonb_write(&out, json);
        *ret = ds_value_text(out.data);
        return true;
    }
    sf_autofree char *text = text_of(json);
    return text ? ds_value_read(rest, type, text, ret)
                : ds_rest_fail(rest, "53200", NULL, NULL, "out of memory");
}
