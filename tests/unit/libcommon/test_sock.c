/*
 * sock: real sockets in a folder of the test's own.
 */
#include "libcommon/sock.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[64];
static const struct sock_listen_opts plain = { 0 };

static int
setup(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/weir-sock-XXXXXX");
	return mkdtemp(dir) == NULL;
}

static int
teardown(void **state)
{
	char command[128];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf '%s'", dir);
	return system(command);
}

static struct addr_spec
spec(const char *text)
{
	struct addr_spec s;
	struct err err;

	assert_int_equal(addr_parse(slice_str(text), 0, &s, &err), 0);
	return s;
}

static struct addr_spec
unix_spec(const char *name)
{
	char text[128];

	snprintf(text, sizeof(text), "unix:%s/%s", dir, name);
	return spec(text);
}

/* Where fd is bound, as something to connect to. */
static struct addr
bound_at(int fd)
{
	struct addr a = { .len = sizeof(a.ss) };

	assert_int_equal(getsockname(fd, &a.sa, &a.len), 0);
	return a;
}

static void
wait_for(int fd, short events)
{
	struct pollfd p = { fd, events, 0 };

	assert_int_equal(poll(&p, 1, 5000), 1);
}

static int
accept_one(int listener)
{
	wait_for(listener, POLLIN);
	return accept(listener, NULL, NULL);
}

static int
get_int(int fd, int level, int option)
{
	int v = -1;
	socklen_t len = sizeof(v);

	assert_int_equal(getsockopt(fd, level, option, &v, &len), 0);
	return v;
}

static void
tcp_listens_and_connects(void **state)
{
	struct addr_spec at = spec("127.0.0.1:0");
	struct sock_listen_opts opts = { .reuseport = true, .nodelay = true };
	struct err err;
	int listener = sock_listen(&at, &opts, &err);
	struct addr to = bound_at(listener);
	int client = sock_connect(&to);
	int server = accept_one(listener);

	(void)state;
	assert_true(client >= 0);
	wait_for(client, POLLOUT);
	assert_int_equal(sock_error(client), 0);
	assert_true(fcntl(listener, F_GETFL) & O_NONBLOCK);
	assert_true(fcntl(listener, F_GETFD) & FD_CLOEXEC);
	assert_true(fcntl(client, F_GETFL) & O_NONBLOCK);
	assert_int_equal(get_int(client, IPPROTO_TCP, TCP_NODELAY), 1);
	assert_int_equal(get_int(server, IPPROTO_TCP, TCP_NODELAY), 1);
	assert_false(sock_peer(client, NULL, NULL, NULL));

	/* A second one shares the port, without the option it does not. */
	at.addr = to;
	int second = sock_listen(&at, &opts, &err);

	assert_true(second >= 0);
	assert_int_equal(sock_listen(&at, &plain, &err), -1);
	assert_non_null(strstr(err.text, "cannot listen on 127.0.0.1:"));
	assert_non_null(strstr(err.text, "in use"));
	close(second);
	close(client);
	close(server);
	close(listener);

	client = sock_connect(&to);
	if (client >= 0) {
		wait_for(client, POLLOUT);
		assert_int_equal(sock_error(client), ECONNREFUSED);
		close(client);
	} else {
		assert_int_equal(errno, ECONNREFUSED);
	}
}

static void
any_means_both_families(void **state)
{
	struct addr_spec at = spec("*:0");
	struct err err;
	int listener = sock_listen(&at, &plain, &err);
	struct addr to = bound_at(listener);
	struct addr v4 = spec("127.0.0.1:0").addr;
	int client;

	(void)state;
	v4.in.sin_port = htons(addr_port(&to.sa));
	client = sock_connect(&v4);
	assert_true(client >= 0);

	int server = accept_one(listener);

	assert_true(server >= 0);
	close(server);
	close(client);
	close(listener);
}

static void
foreign_addresses_and_names_are_refused(void **state)
{
	struct addr_spec at = spec("192.0.2.1:0");
	struct err err;

	(void)state;
	assert_int_equal(sock_listen(&at, &plain, &err), -1);
	assert_non_null(strstr(err.text, "no such address"));
	at = spec("localhost:80");
	assert_int_equal(sock_listen(&at, &plain, &err), -1);
	assert_non_null(strstr(err.text, "localhost"));
}

static void
a_unix_socket_has_the_mode_asked_for(void **state)
{
	struct addr_spec at = unix_spec("a");
	struct sock_listen_opts opts = { .unix_mode = 0666 };
	struct err err;
	struct stat st;
	mode_t old = umask(077);
	int listener = sock_listen(&at, &opts, &err);
	pid_t pid;
	uid_t uid;
	gid_t gid;

	(void)state;
	umask(old);
	assert_true(listener >= 0);
	assert_int_equal(stat(at.addr.un.sun_path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0666);

	int client = sock_connect(&at.addr);

	assert_true(client >= 0);
	assert_int_equal(errno, 0);
	assert_true(sock_peer(client, &uid, &gid, &pid));
	assert_int_equal(pid, getpid());
	assert_int_equal(uid, getuid());
	assert_int_equal(gid, getgid());
	close(client);
	close(listener);
}

/* The ports that the system gives out are this process's to say in a namespace of its own. */
static bool
give_out(const char *ports)
{
	int fd = open("/proc/sys/net/ipv4/ip_local_port_range", O_WRONLY | O_CLOEXEC);
	bool ok = fd >= 0 && write(fd, ports, strlen(ports)) == (ssize_t)strlen(ports);

	if (fd >= 0)
		close(fd);
	return ok;
}

static void
where_nobody_listens_nobody_meets_himself(void **state)
{
	static const char *const hosts[] = { "127.0.0.1:40001", "[::1]:40001" };
	pid_t pid = fork();
	int status = -1;

	(void)state;
	if (pid == 0) {
		if (unshare(CLONE_NEWNET) < 0 || system("ip link set lo up") != 0 ||
			!give_out("40001 40001"))
			_exit(77);
		for (size_t i = 0; i < sizeof(hosts) / sizeof(*hosts); i++) {
			struct addr_spec at = spec(hosts[i]);

			if (sock_connect(&at.addr) >= 0 || errno != ECONNREFUSED)
				_exit(1 + (int)i);

			/* and its port is free again */
			struct err err;
			int listener = sock_listen(&at, &plain, &err);

			if (listener < 0)
				_exit(10 + (int)i);
			close(listener);
		}
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		skip(); /* not root */
	assert_int_equal(status, 0);
}

static void
a_live_socket_is_kept_and_its_holder_named(void **state)
{
	struct addr_spec at = unix_spec("a");
	struct err err;
	char expected[64];
	int listener = sock_listen(&at, &plain, &err);

	(void)state;
	snprintf(expected, sizeof(expected), "it is in use by pid %d (test_sock)", (int)getpid());
	assert_int_equal(sock_listen(&at, &plain, &err), -1);
	assert_non_null(strstr(err.text, expected));
	/* Also when it speaks another type. */
	assert_int_equal(sock_listen_seqpacket(at.addr.un.sun_path, &plain, &err), -1);
	if (strstr(err.text, expected) == NULL)
		fail_msg("%s", err.text);
	assert_int_equal(access(at.addr.un.sun_path, F_OK), 0);

	/* A full backlog is no sign of death. */
	struct addr_spec full = unix_spec("full");
	struct sock_listen_opts opts = { .backlog = 1 };
	int tight = sock_listen(&full, &opts, &err);
	int clients[8];
	size_t n = 0;

	while (n < 8 && (clients[n] = sock_connect(&full.addr)) >= 0)
		n++;
	assert_int_equal(errno, EAGAIN);
	assert_int_equal(sock_listen(&full, &plain, &err), -1);
	assert_non_null(strstr(err.text, "in use"));
	while (n > 0)
		close(clients[--n]);
	close(tight);
	close(listener);
}

static void
a_stale_socket_is_replaced(void **state)
{
	struct addr_spec at = unix_spec("a");
	struct err err;

	(void)state;
	close(sock_listen(&at, &plain, &err));
	assert_int_equal(access(at.addr.un.sun_path, F_OK), 0);

	int listener = sock_listen(&at, &plain, &err);

	assert_true(listener >= 0);

	int client = sock_connect(&at.addr);

	assert_true(client >= 0);
	close(client);
	close(listener);
}

static void
what_is_not_a_socket_is_never_removed(void **state)
{
	struct addr_spec at = unix_spec("file");
	struct err err;

	(void)state;
	close(open(at.addr.un.sun_path, O_CREAT | O_WRONLY, 0600));
	assert_int_equal(sock_listen(&at, &plain, &err), -1);
	assert_non_null(strstr(err.text, "not a socket"));
	assert_int_equal(access(at.addr.un.sun_path, F_OK), 0);

	/* Nor is what a link points to. */
	struct addr_spec link = unix_spec("link");

	assert_int_equal(symlink(at.addr.un.sun_path, link.addr.un.sun_path), 0);
	assert_int_equal(sock_listen(&link, &plain, &err), -1);
	assert_non_null(strstr(err.text, "not a socket"));

	at = unix_spec("no/such/folder");
	assert_int_equal(sock_listen(&at, &plain, &err), -1);
	assert_non_null(strstr(err.text, "No such file"));
}

/* Many starters at once: exactly one gets the path, and it can be reached there. */
static void
of_many_starters_one_wins(void **state)
{
	struct addr_spec at = unix_spec("race");
	struct err err;
	int go[2];
	int done[2];
	int end[2];
	char c;

	(void)state;
	assert_int_equal(pipe(end), 0);
	close(sock_listen(&at, &plain, &err)); /* stale: all of them want to replace it */
	assert_int_equal(pipe(go), 0);
	assert_int_equal(pipe(done), 0);
	for (int i = 0; i < 8; i++) {
		if (fork() == 0) {
			close(go[1]);
			close(end[1]);
			if (read(go[0], &c, 1) != 0)
				_exit(9);

			int fd = sock_listen(&at, &plain, &err);

			if (write(done[1], fd >= 0 ? "1" : "0", 1) != 1)
				_exit(9);
			while (fd >= 0 && read(end[0], &c, 1) < 0)
				;
			_exit(0);
		}
	}
	close(go[0]);
	close(go[1]);

	int winners = 0;

	for (int i = 0; i < 8; i++) {
		assert_int_equal(read(done[0], &c, 1), 1);
		winners += c == '1';
	}
	assert_int_equal(winners, 1);

	int client = sock_connect(&at.addr);

	assert_true(client >= 0);
	close(client);
	close(end[0]);
	close(end[1]);
	while (wait(NULL) > 0)
		;
	close(done[0]);
	close(done[1]);
}

static void
descriptors_travel_with_bytes(void **state)
{
	struct addr_spec at = unix_spec("seq");
	struct err err;
	int listener = sock_listen_seqpacket(at.addr.un.sun_path, &plain, &err);
	int client = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	int fds[SOCK_FDS_MAX];
	size_t n = SOCK_FDS_MAX;
	char buf[16];
	int pipes[2];

	(void)state;
	assert_true(listener >= 0);
	assert_int_equal(connect(client, &at.addr.sa, at.addr.len), 0);

	int server = accept_one(listener);

	assert_int_equal(pipe(pipes), 0);
	assert_int_equal(sock_send_fds(client, "hello", 5, pipes, 2), 5);
	assert_int_equal(sock_recv_fds(server, buf, sizeof(buf), fds, &n), 5);
	assert_int_equal(n, 2);
	assert_true(fcntl(fds[0], F_GETFD) & FD_CLOEXEC);
	assert_int_equal(write(fds[1], "x", 1), 1);
	assert_int_equal(read(pipes[0], buf, 1), 1);
	close(fds[0]);
	close(fds[1]);

	/* Without descriptors. */
	n = SOCK_FDS_MAX;
	assert_int_equal(sock_send_fds(client, "y", 1, NULL, 0), 1);
	assert_int_equal(sock_recv_fds(server, buf, sizeof(buf), fds, &n), 1);
	assert_int_equal(n, 0);

	/* Too many for the receiver, or a message too long: none leaks. */
	int before = dup(0);

	close(before);
	n = 1;
	assert_int_equal(sock_send_fds(client, "z", 1, pipes, 2), 1);
	assert_int_equal(sock_recv_fds(server, buf, sizeof(buf), fds, &n), -1);
	assert_int_equal(errno, EMSGSIZE);
	assert_int_equal(n, 0);
	n = 2;
	assert_int_equal(sock_send_fds(client, "0123456789abcdefg", 17, pipes, 2), 17);
	assert_int_equal(sock_recv_fds(server, buf, sizeof(buf), fds, &n), -1);
	assert_int_equal(errno, EMSGSIZE);

	int after = dup(0);

	close(after);
	assert_int_equal(before, after);
	assert_int_equal(sock_send_fds(client, "z", 1, pipes, SOCK_FDS_MAX + 1), -1);
	assert_int_equal(errno, EINVAL);
	close(pipes[0]);
	close(pipes[1]);
	close(client);
	close(server);
	close(listener);
}

/* In a child of its own: the environment is read once per process. Exit codes name the step. */
static int
inherit_in_child(struct addr_spec tcp, struct addr_spec un)
{
	char number[16];
	struct err err;
	struct addr_spec any = spec("*:0");

	for (int fd = 3; fd < 64; fd++)
		close(fd);

	struct addr_spec zero = spec("0.0.0.0:0");
	int a = dup2(sock_listen(&tcp, &plain, &err), 53);
	int b = dup2(sock_listen(&un, &plain, &err), 54);
	int c = dup2(socket(AF_INET, SOCK_DGRAM, 0), 55); /* not for us */
	int d = dup2(sock_listen(&zero, &plain, &err), 56);

	if (a < 0 || b < 0 || c < 0 || d < 0)
		return 1;
	for (int fd = 3; fd < 7; fd++)
		dup2(fd + 50, fd);
	close(a);
	close(b);
	close(c);
	close(d);
	a = 3;
	b = 4;
	c = 5;
	d = 6;
	tcp.addr = bound_at(a);

	struct addr bound = bound_at(d);

	any.port = addr_port(&bound.sa);
	any.addr.in6.sin6_port = htons(any.port);
	for (int fd = 3; fd < 7; fd++)
		fcntl(fd, F_SETFD, 0);
	fcntl(a, F_SETFL, 0);
	snprintf(number, sizeof(number), "%d", (int)getpid());
	setenv("LISTEN_PID", number, 1);
	setenv("LISTEN_FDS", "4", 1);

	if (sock_inherited(&un) != b || sock_inherited(&un) != -1)
		return 2;
	if (sock_inherited(&tcp) != a || sock_inherited(&tcp) != -1)
		return 3;
	if (sock_inherited(&any) != d || sock_inherited(&any) != -1)
		return 4;
	if (getenv("LISTEN_FDS") != NULL || getenv("LISTEN_PID") != NULL)
		return 5;
	if (!(fcntl(a, F_GETFL) & O_NONBLOCK) || !(fcntl(c, F_GETFD) & FD_CLOEXEC))
		return 6;
	return 0;
}

static void
inherited_listeners_are_taken_once(void **state)
{
	struct addr_spec tcp = spec("127.0.0.1:0");
	struct addr_spec un = unix_spec("inherited");
	int status;
	pid_t pid = fork();

	(void)state;
	if (pid == 0)
		_exit(inherit_in_child(tcp, un));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void
listeners_of_another_process_are_left_alone(void **state)
{
	struct addr_spec tcp = spec("127.0.0.1:0");
	int status;
	pid_t pid = fork();

	(void)state;
	if (pid == 0) {
		struct err err;
		int fd = sock_listen(&tcp, &plain, &err);

		tcp.addr = bound_at(fd);
		setenv("LISTEN_PID", "1", 1);
		setenv("LISTEN_FDS", "60", 1);
		_exit(sock_inherited(&tcp) != -1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void
the_descriptor_limit_is_raised(void **state)
{
	uint64_t limit = sock_raise_nofile();

	(void)state;
	assert_true(limit >= 1024);
	assert_int_equal(sock_raise_nofile(), limit);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* Whoever may look into a folder can lock it; that keeps nobody from starting. */
static void
a_locked_folder_stops_nobody(void **state)
{
	struct err err = { "" };
	struct addr_spec at = unix_spec("s");
	int held = open(dir, O_RDONLY | O_DIRECTORY);

	(void)state;
	assert_int_equal(flock(held, LOCK_EX), 0);

	pid_t pid = fork();

	if (pid == 0) {
		alarm(10); /* it would wait for ever */
		_exit(sock_listen(&at, &plain, &err) < 0);
	}

	int status = -1;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	close(held);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(tcp_listens_and_connects),
		TEST(any_means_both_families),
		TEST(foreign_addresses_and_names_are_refused),
		TEST(a_unix_socket_has_the_mode_asked_for),
		TEST(where_nobody_listens_nobody_meets_himself),
		TEST(a_live_socket_is_kept_and_its_holder_named),
		TEST(a_stale_socket_is_replaced),
		TEST(what_is_not_a_socket_is_never_removed),
		TEST(of_many_starters_one_wins),
		TEST(descriptors_travel_with_bytes),
		TEST(inherited_listeners_are_taken_once),
		TEST(listeners_of_another_process_are_left_alone),
		TEST(the_descriptor_limit_is_raised),
		TEST(a_locked_folder_stops_nobody),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
