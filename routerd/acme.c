/*
 * acme: see the header. Asks are all on one list from the first to the last, so that those whose
 * loop never runs again are freed, too; `next` is the first that the thread has not looked at.
 */
#include "routerd/acme.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libcommon/log.h"
#include "libcommon/loop.h"
#include "libcommon/mem.h"

#define PREFIX    SLICE("/.well-known/acme-challenge/")
#define ASKED_MAX 256 /* waiting at a time, all workers together */

struct acme_ask {
	struct acme *owner;
	struct acme_ask *prev;
	struct acme_ask *next;
	struct loop *loop;
	acme_fn fn; /* NULL: forgotten; the asking thread's */
	void *arg;
	char *path;
	enum acme_result result;
	size_t n;
	char text[ACME_TEXT_MAX + 1];
};

struct acme {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t more;
	bool is_stopping;
	bool is_joined;
	unsigned count;
	struct acme_ask *first;
	struct acme_ask *last;
	struct acme_ask *next;
	struct log_limit limit; /* the thread's */
};

static bool
is_token_char(char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
		c == '-' || c == '_';
}

bool
acme_token(struct slice path, struct slice *token)
{
	struct slice prefix = PREFIX;
	struct slice t;

	if (path.n <= prefix.n || memcmp(path.p, prefix.p, prefix.n) != 0)
		return false;
	t = slice_skip(path, prefix.n);
	if (t.n > ACME_TOKEN_MAX)
		return false;
	for (size_t i = 0; i < t.n; i++)
		if (!is_token_char(t.p[i]))
			return false;
	*token = t;
	return true;
}

/* --- the thread --- */

static void
unreadable(struct acme *a, const char *path, const char *why)
{
	uint32_t held;

	if (log_allow(&a->limit, &held))
		LOG_WARN("acme_token_unreadable", L_STR("path", path), L_STR("text", why),
			L_INT("not_logged", held));
}

static void
read_fd(struct acme *a, struct acme_ask *ask, int fd)
{
	struct stat st;
	ssize_t n = -1;

	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		unreadable(a, ask->path, "is not a file");
		return;
	}
	do
		n = pread(fd, ask->text, sizeof(ask->text), 0);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		unreadable(a, ask->path, strerror(errno));
	else if (n == 0 || n > ACME_TEXT_MAX)
		unreadable(a, ask->path, "is no answer to a challenge: 1 byte to 1 kB");
	else
		ask->n = (size_t)n;
}

/* A symbolic link would lead out of the folder. */
static void
look(struct acme *a, struct acme_ask *ask)
{
	int fd = open(ask->path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | O_NOFOLLOW);

	if (fd >= 0) {
		read_fd(a, ask, fd);
		close(fd);
	} else if (errno != ENOENT) {
		unreadable(a, ask->path, errno == ELOOP ? "is a symbolic link" : strerror(errno));
	}
	ask->result = ask->n > 0 ? ACME_FOUND : ACME_NONE;
}

static void
unlink_ask(struct acme *a, struct acme_ask *ask)
{
	*(ask->prev != NULL ? &ask->prev->next : &a->first) = ask->next;
	*(ask->next != NULL ? &ask->next->prev : &a->last) = ask->prev;
	a->count--;
}

static void
free_ask(struct acme_ask *ask)
{
	free(ask->path);
	free(ask);
}

/* On the asker's loop. */
static void
answer(void *arg)
{
	struct acme_ask *ask = arg;
	struct acme *a = ask->owner;

	pthread_mutex_lock(&a->lock);
	unlink_ask(a, ask);
	pthread_mutex_unlock(&a->lock);
	if (ask->fn != NULL)
		ask->fn(ask->arg, ask->result, slice_make(ask->text, ask->n));
	free_ask(ask);
}

static void *
thread_main(void *arg)
{
	struct acme *a = arg;

	pthread_mutex_lock(&a->lock);
	for (;;) {
		struct acme_ask *ask = a->next;

		if (a->is_stopping)
			break;
		if (ask == NULL) {
			pthread_cond_wait(&a->more, &a->lock);
			continue;
		}
		a->next = ask->next;
		pthread_mutex_unlock(&a->lock);
		look(a, ask);
		loop_post(ask->loop, answer, ask);
		pthread_mutex_lock(&a->lock);
	}
	pthread_mutex_unlock(&a->lock);
	return NULL;
}

/* --- its users --- */

struct acme *
acme_new(struct err *err)
{
	struct acme *a = xcalloc(1, sizeof(*a));
	sigset_t all;
	sigset_t before;
	int no;

	a->limit.burst = 5;
	pthread_mutex_init(&a->lock, NULL);
	pthread_cond_init(&a->more, NULL);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	no = pthread_create(&a->thread, NULL, thread_main, a);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (no == 0)
		return a;
	err_set(err, "a thread for ACME tokens: %s", strerror(no));
	a->is_joined = true;
	acme_free(a);
	return NULL;
}

void
acme_stop(struct acme *a)
{
	if (a == NULL || a->is_joined)
		return;
	pthread_mutex_lock(&a->lock);
	a->is_stopping = true;
	pthread_cond_signal(&a->more);
	pthread_mutex_unlock(&a->lock);
	pthread_join(a->thread, NULL);
	a->is_joined = true;
}

void
acme_free(struct acme *a)
{
	if (a == NULL)
		return;
	acme_stop(a);
	while (a->first != NULL) {
		struct acme_ask *gone = a->first;

		a->first = gone->next;
		free_ask(gone);
	}
	pthread_cond_destroy(&a->more);
	pthread_mutex_destroy(&a->lock);
	free(a);
}

struct acme_ask *
acme_ask(struct acme *a, struct loop *loop, const char *folder, struct slice token, acme_fn fn,
	void *arg)
{
	struct acme_ask *ask = xcalloc(1, sizeof(*ask));
	bool is_full;

	*ask = (struct acme_ask){ .owner = a, .loop = loop, .fn = fn, .arg = arg };
	ask->path = xasprintf("%s/%.*s", folder, SLICE_ARG(token));
	pthread_mutex_lock(&a->lock);
	is_full = a->count >= ASKED_MAX;
	if (!is_full) {
		ask->prev = a->last;
		*(a->last != NULL ? &a->last->next : &a->first) = ask;
		a->last = ask;
		a->count++;
		if (a->next == NULL)
			a->next = ask;
		pthread_cond_signal(&a->more);
	}
	pthread_mutex_unlock(&a->lock);
	if (!is_full)
		return ask;
	free_ask(ask);
	return NULL;
}

void
acme_forget(struct acme_ask *ask)
{
	ask->fn = NULL;
}
