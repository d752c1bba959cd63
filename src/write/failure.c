/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "write/failure.h"

#include <errno.h>

/* Held: nobody has refused the bytes; the network, the service, the key or what the service has
 * room for may be otherwise later, or it is not known what happened. Refused: the same request will
 * fail again (permission, size, type, name, no such bucket). */
bool
sf_failure_is_held(const struct sf_err *err)
{
    if (err->outcome_open || err->retryable)
        return true;
    switch (-err->code) {
    case EACCES:
    case EPERM:
    case EEXIST:
    case ENOENT:
    case ENOTDIR:
    case EISDIR:
    case EFBIG:
    case E2BIG:
    case EINVAL:
    case EILSEQ:
    case ENAMETOOLONG:
    case ENOTSUP:
    case EDQUOT:
    case ESTALE:
        return false;
    case EIO: /* a 400 that nobody understands will be one again; a 5xx, no answer, an unusable one,
                 and what is no answer of a Storage service may pass */
        return err->http_status / 100 != 4 || err->http_status == 404;
    default:
        return true;
    }
}
