/*
 * upview: what is known of daemons beside what they say themselves: what `up` says of those that it
 * runs, dead ones too, and whether the files that they run by still hold that.
 */
#ifndef PROXYCTL_UPVIEW_H
#define PROXYCTL_UPVIEW_H

#include "proxyctl/fleet.h"

/* Members that are `up` leave the fleet; what they answered goes to the daemons that it is about.
 * One that is being started and has left no socket becomes a member that is gone. */
void upview_take(struct fleet *f);
/* Sets on_disk of each that answered. Only files that the site names are opened for daemons of
 * other users. */
void upview_look(struct fleet *f, const struct site *s);
/* The word of `up` for the state of one that does not answer, or NULL. */
const char *upview_state(const struct member *m);
/* Lines for a person. */
void upview_show(const struct fleet *f, bool is_coloured, struct sbuf *out);

#endif
