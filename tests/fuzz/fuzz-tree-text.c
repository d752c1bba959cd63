/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fuzz.h"
#include "tree/internal.h"

/* What the service calls a version, packed into a node: an ETag, and behind a line feed an id, as
 * long as they may be. Both come back as they came, also over other ones. */

static struct node *
new_node(void)
{
    struct node *n = calloc(1, sizeof *n + node_room("name", NULL));
    REQUIRE(n);
    n->room = (unsigned)node_room("name", NULL) & 0xff;
    return n;
}

static void
holds(const struct node *n, const char *id, const char *etag)
{
    char buf[NODE_ID_SIZE], buf2[NODE_ETAG_SIZE];
    struct sf_version v;
    REQUIRE(strcmp(node_id(n, buf), id) == 0 && node_has_id(n) == (*id != '\0'));
    REQUIRE(strcmp(node_etag(n, buf2), etag) == 0 && node_has_etag(n) == (*etag != '\0'));
    REQUIRE(node_etag_is(n, etag));
    node_version_of(n, true, &v);
    REQUIRE(strcmp(v.id, id) == 0 && (strlen(etag) >= sizeof v.etag || !strcmp(v.etag, etag)));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const others[] = {"", "\"0123456789abcdef0123456789abcdef\"", "\"1a-2\"",
                                         "W/\"other\""};
    struct sf_version bounds;
    sf_autofree char *etag = fuzz_text(data, size);
    char *id = strchr(etag, '\n');
    if (id)
        *id++ = '\0';
    if (!id || strlen(id) >= sizeof bounds.id)
        id = etag + strlen(etag);
    struct node *n = new_node(), *copy = new_node();
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        REQUIRE(node_set_etag(n, others[i]) == 0 && node_set_id(n, others[i]) == 0);
        REQUIRE(node_set_etag(n, etag) == 0 && node_set_id(n, id) == 0);
        holds(n, id, etag);
    }
    node_copy_version(n, copy);
    holds(copy, id, etag);
    node_text_free(n);
    node_text_free(copy);
    free(n);
    free(copy);
    return 0;
}
