#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Chat files (docs/formats/chat.md) of mounts before the emulated providers of the dev server.
# Source common.sh, server.sh, mount.sh and providers.sh first.
# shellcheck disable=SC2154 # sf_test is set by common.sh

# chat_providers: what mounts to come ask. kimi, which comes first, and glm answer at once.
chat_providers() {
    unset OPENAI_API_KEY OPENAI_BASE_URL
    export SUPAFS_PROVIDER_KIMI_MODEL=kimi-k2.6 SUPAFS_PROVIDER_KIMI_ORDER=1
    export SUPAFS_PROVIDER_GLM_MODEL=glm-5.1 SUPAFS_PROVIDER_GLM_ORDER=2
    export SUPAFS_PROVIDER_KIMI_CONCURRENCY=16 SUPAFS_PROVIDER_GLM_CONCURRENCY=16
}

# chat_provider NAME SCENARIO: another one, an account of its own at Kimi that answers so; it is asked
# by name only.
chat_provider() {
    provider_of "$1" kimi "+$1@$2"
    export "SUPAFS_PROVIDER_${1^^}_MODEL=kimi-k2.6" "SUPAFS_PROVIDER_${1^^}_ORDER=900"
    export "SUPAFS_PROVIDER_${1^^}_CONCURRENCY=16"
}

# mount_chat VAR [ARGUMENT...]: as mount_project, with a bucket as its root.
mount_chat() {
    local sf_name=$1
    shift
    mount_project "$sf_name" -o "bucket=$bucket" "$@"
}

# questions: how many chats the providers were asked for, all together.
questions() {
    admin GET /providers | awk '$1 == "\"chat\":" { n += $2 } END { print n + 0 }'
}

# all_requests: of any kind, at all of them.
all_requests() {
    admin GET /providers | awk '/^    "requests": / { n += $2 } END { print n + 0 }'
}

# chat_attr FILE [WHAT]: user.supafs.chat, or user.supafs.chat.WHAT.
chat_attr() { getfattr --only-values -n "user.supafs.chat${2:+.$2}" "$1" 2>/dev/null; }

# is_idle FILE, wait_idle FILE: nothing waits or runs in the conversation of FILE.chat.
is_idle() { [ "$(chat_attr "$1" state)" = idle ]; }
wait_idle() { wait_for 10 is_idle "$1" || fail "$1 is $(chat_attr "$1" state)"; }

# turns FILE [KIND]: how many turns of a transcript are of this kind (user).
turns() { grep -c "^## ${2:-user} " "$1"; }

# body FILE KIND N: the text of the Nth turn of a kind.
body() {
    python3 -c 'import sys
sys.path.insert(0, sys.argv[1])
import chatfile
got = [t.body for t in chatfile.turns(open(sys.argv[2]).read()) if t.kind == sys.argv[3]]
print(got[int(sys.argv[4]) - 1])' "$SF_SRC/tests/lib" "$@"
}
