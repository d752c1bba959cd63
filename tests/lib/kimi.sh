#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# `supafs provider` on a mount, and what the emulated Kimi has, as another client sees it. Source
# common.sh and server.sh first.

provider() { timeout 60 "$SUPAFS" provider "$@"; }
# of_json EXPRESSION: of the JSON in SF_OUT, as `o`.
of_json() { python3 -c 'import json, sys; o = json.load(sys.stdin); print(eval(sys.argv[1]))' "$1" <<<"$SF_OUT"; }
kimi() { curl -sS --max-time 20 --config <(printf 'header = "Authorization: Bearer %s"\n' "$MOONSHOT_API_KEY") "$@"; }
# plain: names as Kimi has them, without the part that tells the content
plain() { sed -E 's/-[0-9a-f]{12}(\.txt)/\1/g'; }
# at_kimi: names and ids of what Kimi has, as another client sees it.
at_kimi() { kimi "$MOONSHOT_BASE_URL/files" | json_get '"\n".join(sorted(f["filename"] + " " + f["id"] for f in d["data"]))' | plain; }
names_at_kimi() { at_kimi | cut -d' ' -f1 | xargs; }
# id_of FILE: at Kimi, where it has been uploaded.
id_of() { provider upload --provider kimi "$1" | awk '{print $2}'; }
