/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_BASE_REDACT_H
#define SF_BASE_REDACT_H

/**
 * sf_redact - overwrite what looks like a secret with "***", in place.
 * @s: text for a log, an error or a transcript; gets shorter or stays as long.
 *
 * Secrets are: JSON web tokens (eyJ...), sb_secret_..., sk-... and HEX.WORD keys of providers, ids
 * of organisations, projects and keys (org-..., proj-..., ak-... when they are long and have a
 * digit, so that a file may be called org-chart.pdf), what follows "Bearer ", and the values of
 * token=, apikey=, api_key=, password=, secret= and signature=, also where the name only ends so
 * (access_token=), in any case, and with the '=' as %3D or as a JSON member ("token":"...").
 * sf_err_set() and the log call this by themselves.
 */
void sf_redact(char *s);

/* The same for the words of a provider, where org-..., proj-..., proj_..., ak-... and sk-... are
 * never anything else: they are hidden whatever their length. */
void sf_redact_ids(char *s);

#endif
