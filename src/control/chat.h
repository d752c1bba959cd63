/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_CONTROL_CHAT_H
#define SF_CONTROL_CHAT_H

#include "control/control.h"

struct sf_chat;
struct sf_control_chat;
struct sf_tree;

/**
 * sf_control_chat_new - the verb that chats about what has no chat file: names that are too long,
 * objects under the chat name, directories that nobody may write to, mounts that are read only.
 * @tree, @chat: borrowed until sf_control_free(); @chat NULL = chats are off here.
 *
 *   chat ask PATH PROMPT   ask, and wait for the answer
 *   chat read PATH         the transcript, with the answer that is coming
 *   chat peek PATH         what of it is there
 *   chat new PATH          put the conversation away
 *   chat cancel PATH       end what is being asked
 *
 * PATH: of a file or directory below the root of the mount. Lines "text WORD", whose words one
 * behind the other are the text; before them "asked", once the question was taken. Who hangs up
 * cancels what he has asked.
 *
 * 0, -ENOSPC, -ENOMEM.
 */
int sf_control_chat_new(struct sf_control *c, struct sf_tree *tree, struct sf_chat *chat,
                        struct sf_control_chat **ret);
void sf_control_chat_free(struct sf_control_chat *cc); /* may be NULL */

#endif
