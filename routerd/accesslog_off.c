/*
 * accesslog_off: no access log yet: its writer comes in a file of its own, and replaces this one.
 */
#include "routerd/accesslog.h"
struct accesslog *
accesslog_new(const char *path, int format, size_t buffer, unsigned workers, struct err *err)
{
	(void)path;
	(void)format;
	(void)buffer;
	(void)workers;
	(void)err;
	return NULL;
}
struct accesslog_ring *
accesslog_ring(struct accesslog *l, unsigned worker)
{
	(void)l;
	(void)worker;
	return NULL;
}
void
accesslog_write(struct accesslog_ring *r, const struct access_entry *e)
{
	(void)r;
	(void)e;
}
int
accesslog_set(struct accesslog *l, const char *path, int format, struct err *err)
{
	(void)l;
	(void)path;
	(void)format;
	(void)err;
	return 0;
}
void
accesslog_reopen(struct accesslog *l)
{
	(void)l;
}
void
accesslog_free(struct accesslog *l)
{
	(void)l;
}
uint64_t
accesslog_dropped(const struct accesslog *l)
{
	(void)l;
	return 0;
}
