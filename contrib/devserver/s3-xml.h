/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DS_S3_XML_H
#define DS_S3_XML_H

#include <stdbool.h>
#include <stddef.h>

#include "buf.h"

/*
 * The XML of the S3 protocol. What clients send are two flat documents of elements and text, so a
 * small strict scanner reads them: UTF-8, no document type, no processing instruction but the XML
 * declaration, no CDATA, only the five named entities and numbers, attributes skipped, depth
 * bounded. Everything else is an error, and there is nothing to expand or to fetch.
 */

#define DS_XML_DEPTH 8

enum ds_xml_event { DS_XML_OPEN, DS_XML_CLOSE };

/**
 * ds_xml_read - go through a document.
 * @event: called for each element at its begin and its end. `path` has the local names from the
 *         root, with '/' between; `text` the text of an element that has no others, ""
 *         at its begin. Returns false to refuse the document.
 *
 * Returns 0; -EBADMSG when it is not well-formed, not of this kind, or refused; -ENOMEM.
 */
int ds_xml_read(const char *document, size_t len,
                bool (*event)(void *arg, enum ds_xml_event what, const char *path,
                              const char *text),
                void *arg);

/* Text with its special characters as entities; <name>text</name>; and <name/> for "". */
void ds_xml_add_text(struct ds_buf *out, const char *text);
void ds_xml_add(struct ds_buf *out, const char *name, const char *text);
void ds_xml_add_number(struct ds_buf *out, const char *name, long long value);

/* <name>2026-11-21T04:05:19.770Z</name> */
void ds_xml_add_time(struct ds_buf *out, const char *name, long long ms);

#endif
