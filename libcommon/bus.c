/*
 * bus.c: the bus for those who use it, and its binding side: the only file that knows nanomsg.
 *
 * nanomsg asserts where others return errors: paths over 107 bytes, no descriptor left, malformed
 * bytes from a peer. The first two are checked here; for the last see bus.h. Its sockets must be
 * opened after the last fork, since it runs threads of its own.
 */
#include "libcommon/bus.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <nanomsg/nn.h>
#include <nanomsg/pubsub.h>
#include <utlist.h>

#include "libcommon/bus_peers.h"
#include "libcommon/busmsg.h"
#include "libcommon/loop.h"
#include "libcommon/mem.h"

#define FDS_SPARE  64
#define BATCH_MAX  256
#define BUFFER_MAX (1 << 20)

struct subscription {
	struct subscription *next;
	bus_fn fn;
	void *arg;
	size_t prefix_len;
	char prefix[];
};

struct bus {
	struct loop *loop;
	struct subscription *subs;
	struct bus_stats stats;
	struct bus_peers *peers; /* connecting side, or */
	struct loop_io *io;      /* binding side: */
	int pub;
	int sub;
	char *paths[2];
};

/* --- handing over ------------------------------------------------------------ */

/* `topic SP json`: whatever has no topic is nobody's. */
static void
deliver(void *arg, struct slice message)
{
	struct bus *b = arg;
	struct subscription *s;
	size_t topic_len = slice_find(message, ' ');

	if (topic_len == message.n)
		return;
	LL_FOREACH (b->subs, s) {
		if (slice_starts(message, slice_make(s->prefix, s->prefix_len))) {
			s->fn(s->arg, slice_make(message.p, topic_len), message);
			return;
		}
	}
}

void
bus_subscribe(struct bus *b, const char *prefix, bus_fn fn, void *arg)
{
	size_t len = strlen(prefix);
	struct subscription *s = xcalloc(1, sizeof(*s) + len + 1);

	s->fn = fn;
	s->arg = arg;
	s->prefix_len = len;
	memcpy(s->prefix, prefix, len + 1);
	LL_APPEND(b->subs, s);
}

/* --- binding side ------------------------------------------------------------ */

/* The descriptor stays readable while messages wait, so a batch may leave some. */
static void
on_readable(void *arg, int fd, int events)
{
	struct bus *b = arg;

	(void)fd;
	(void)events;
	for (int i = 0; i < BATCH_MAX; i++) {
		void *p;
		int n = nn_recv(b->sub, &p, NN_MSG, NN_DONTWAIT);

		if (n < 0)
			return;
		b->stats.received++;
		deliver(b, slice_make(p, (size_t)n));
		nn_freemsg(p);
	}
}

static size_t
fds_left(void)
{
	struct rlimit rl;
	size_t used = 0;
	DIR *dir = opendir("/proc/self/fd");

	if (!dir || getrlimit(RLIMIT_NOFILE, &rl) != 0) {
		if (dir)
			closedir(dir);
		return 0;
	}
	while (readdir(dir))
		used++;
	closedir(dir);
	return rl.rlim_cur > used ? rl.rlim_cur - used : 0;
}

/* Does somebody accept there? nanomsg would unlink the file of a listener it cannot reach. */
static int
check_free(const char *path, struct err *err)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct ucred cred = { 0 };
	socklen_t len = sizeof(cred);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return err_set(err, "%s: %s", path, strerror(errno));
	memcpy(addr.sun_path, path, strlen(path) + 1);

	int rc = connect(fd, (const struct sockaddr *)&addr, sizeof(addr));
	int saved = errno;

	if (rc == 0)
		getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len);
	close(fd);
	if (rc == 0 || saved == EAGAIN)
		return err_set(err, "%s: in use by process %d", path, (int)cred.pid);
	if (saved == ECONNREFUSED && unlink(path) != 0)
		return err_set(err, "%s: stale, but cannot be removed: %s", path, strerror(errno));
	if (saved != ECONNREFUSED && saved != ENOENT)
		return err_set(err, "%s: %s", path, strerror(saved));
	return 0;
}

static int
bind_end(int proto, const char *path, struct err *err)
{
	char url[sizeof(((struct sockaddr_un *)NULL)->sun_path) + 8];
	int max = (int)BUSMSG_BYTES_MAX;
	int size = BUFFER_MAX;
	int s = nn_socket(AF_SP, proto);

	if (s < 0)
		return err_set(err, "cannot open a bus socket: %s", nn_strerror(nn_errno()));
	snprintf(url, sizeof(url), "ipc://%s", path);
	nn_setsockopt(s, NN_SOL_SOCKET, NN_RCVMAXSIZE, &max, sizeof(max));
	nn_setsockopt(s, NN_SOL_SOCKET, NN_SNDBUF, &size, sizeof(size));
	nn_setsockopt(s, NN_SOL_SOCKET, NN_RCVBUF, &size, sizeof(size));
	if (proto == NN_SUB)
		nn_setsockopt(s, NN_SUB, NN_SUB_SUBSCRIBE, "", 0);
	if (nn_bind(s, url) < 0 || chmod(path, 0660) != 0) {
		err_set(err, "%s: %s", path, nn_strerror(nn_errno()));
		nn_close(s);
		return -1;
	}
	return s;
}

static int
open_ends(struct bus *b, struct err *err)
{
	int fd;
	size_t len = sizeof(fd);

	b->pub = bind_end(NN_PUB, b->paths[0], err);
	if (b->pub < 0)
		return -1;
	b->sub = bind_end(NN_SUB, b->paths[1], err);
	if (b->sub < 0)
		return -1;
	if (nn_getsockopt(b->sub, NN_SOL_SOCKET, NN_RCVFD, &fd, &len) < 0)
		return err_set(err, "bus socket: %s", nn_strerror(nn_errno()));
	b->io = loop_io_new(b->loop, fd, LOOP_READ, on_readable, b);
	return 0;
}

static int
prepare_paths(
	struct bus *b, const char *dir, const char *program, const char *instance, struct err *err)
{
	static const char *const tails[] = { "pub", "sub" };
	size_t room = sizeof(((struct sockaddr_un *)NULL)->sun_path);

	for (int i = 0; i < 2; i++) {
		b->paths[i] = xasprintf("%s/%s.%s.%s", dir, program, instance, tails[i]);
		if (strlen(b->paths[i]) >= room)
			return err_set(err, "%s: too long for a socket, at most %zu bytes fit",
				b->paths[i], room - 1);
	}
	if (mkdir(dir, 0770) != 0 && errno != EEXIST)
		return err_set(err, "%s: cannot be made: %s", dir, strerror(errno));
	for (int i = 0; i < 2; i++)
		if (check_free(b->paths[i], err))
			return -1;
	if (fds_left() < FDS_SPARE)
		return err_set(err, "fewer than %d descriptors are left for the bus", FDS_SPARE);
	return 0;
}

struct bus *
bus_bind(
	struct loop *l, const char *dir, const char *program, const char *instance, struct err *err)
{
	struct bus *b = xcalloc(1, sizeof(*b));

	b->loop = l;
	b->pub = b->sub = -1;
	if (prepare_paths(b, dir, program, instance, err) || open_ends(b, err)) {
		bus_free(b);
		return NULL;
	}
	return b;
}

/* --- both sides -------------------------------------------------------------- */

struct bus *
bus_connect(struct loop *l, const char *dir, struct err *err)
{
	struct bus *b = xcalloc(1, sizeof(*b));

	b->loop = l;
	b->pub = b->sub = -1;
	b->peers = bus_peers_new(l, dir, deliver, b, &b->stats, err);
	if (!b->peers) {
		bus_free(b);
		return NULL;
	}
	return b;
}

int
bus_publish(struct bus *b, struct slice message)
{
	if (message.n > BUSMSG_BYTES_MAX) {
		errno = EMSGSIZE;
		return -1;
	}
	if (b->peers)
		bus_peers_send(b->peers, message);
	else if (nn_send(b->pub, message.p, message.n, NN_DONTWAIT) >= 0)
		b->stats.sent++;
	else
		b->stats.dropped++;
	return 0;
}

void
bus_stats(const struct bus *b, struct bus_stats *out)
{
	*out = b->stats;
	if (!b->peers)
		out->peers = (uint32_t)nn_get_statistic(b->pub, NN_STAT_CURRENT_CONNECTIONS);
}

void
bus_free(struct bus *b)
{
	struct subscription *s;
	struct subscription *tmp;

	if (!b)
		return;
	bus_peers_free(b->peers);
	loop_io_free(b->io);
	if (b->pub >= 0)
		nn_close(b->pub);
	if (b->sub >= 0)
		nn_close(b->sub);
	for (int i = 0; i < 2; i++) {
		if (b->paths[i] && (i == 0 ? b->pub : b->sub) >= 0)
			unlink(b->paths[i]);
		free(b->paths[i]);
	}
	LL_FOREACH_SAFE (b->subs, s, tmp)
		free(s);
	free(b);
}

void
bus_epoch(char out[static BUS_EPOCH_SIZE])
{
	char boot[37] = "no-boot-id";
	uint64_t r[1] = { 0 };
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);

	if (fd >= 0) {
		ssize_t n = read(fd, boot, sizeof(boot) - 1);

		boot[n > 0 ? n : 0] = '\0';
		close(fd);
	}
	if (getrandom(r, sizeof(r), 0) != sizeof(r))
		r[0] = (uint64_t)getpid();
	snprintf(out, BUS_EPOCH_SIZE, "%s-%016" PRIx64, boot, r[0]);
}
