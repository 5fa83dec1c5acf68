/* cppcheck.h: macros of libraries whose headers cppcheck does not read. */
#define DL_FOREACH(head, el)           for (el = head; el; el = el->next)
#define DL_FOREACH_SAFE(head, el, tmp) for (el = head; el && (tmp = el->next, 1); el = tmp)
#define HASH_ITER(hh, head, el, tmp)   for (el = head, tmp = el; el; el = tmp)
