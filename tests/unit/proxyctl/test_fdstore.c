/*
 * fdstore: what a process may leave with `up`, and what it may not.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libcommon/sock.h"
#include "proxyctl/fdstore.h"

static int ends[2];
static struct fdstore store;
static char told[CFG_HASH]; /* the hash that was told last */

static int
setup(void **state)
{
	(void)state;
	store = (struct fdstore){ 0 };
	return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends);
}

static int
teardown(void **state)
{
	(void)state;
	fdstore_clear(&store);
	close(ends[0]);
	close(ends[1]);
	return 0;
}

static int
tcp(bool is_listening)
{
	struct sockaddr_in at = { .sin_family = AF_INET };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	if (is_listening)
		assert_int_equal(listen(fd, 5), 0);
	return fd;
}

/* Sent with these, which are closed here; what it is taken for. */
static enum fdstore_word
hear(const char *text, const int *fds, size_t n)
{
	assert_true(sock_send_fds(ends[1], text, strlen(text), fds, n) >= 0);
	for (size_t i = 0; i < n; i++)
		close(fds[i]);
	return fdstore_read(&store, ends[0], told);
}

static size_t
open_fds(void)
{
	size_t n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void
words_are_told_apart(void **state)
{
	static const struct {
		const char *text;
		enum fdstore_word word;
	} cases[] = {
		{ "READY=1", FDSTORE_READY },
		{ "READY=1\n", FDSTORE_READY },
		{ "STATUS=fine\nREADY=1\nMAINPID=1", FDSTORE_READY },
		{ "STOPPING=1", FDSTORE_STOPPING },
		{ "X_CONFIG_HASH=0123456789abcdef0123456789abcdef", FDSTORE_CONFIG },
		{ "X_CONFIG_HASH=0123456789abcdef0123456789abcde", FDSTORE_NOTHING },
		{ "X_CONFIG_HASH=0123456789abcdef0123456789abcdef0", FDSTORE_NOTHING },
		{ "X_CONFIG_HASH=0123456789abcdef0123456789abcdeF", FDSTORE_NOTHING },
		{ "X_CONFIG_HASH=0123456789abcdef/123456789abcdef", FDSTORE_NOTHING },
		{ "X_CONFIG_HASH=", FDSTORE_NOTHING },
		{ "READY=11", FDSTORE_NOTHING },
		{ "xREADY=1", FDSTORE_NOTHING },
		{ "READY=0", FDSTORE_NOTHING },
		{ "\n\n\n", FDSTORE_NOTHING },
		{ "FDSTORE=1\nFDNAME=a", FDSTORE_NOTHING },
		{ "FDSTOREREMOVE=1\nFDNAME=a", FDSTORE_NOTHING },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		assert_int_equal(hear(cases[i].text, NULL, 0), cases[i].word);
	assert_int_equal(fdstore_read(&store, ends[0], told), FDSTORE_WAIT);
	assert_int_equal(store.n, 0);
	assert_string_equal(told, "0123456789abcdef0123456789abcdef");
}

static void
listeners_are_kept_once_and_taken_back_by_name(void **state)
{
	int a = tcp(true);
	int fds[3] = { a, dup(a), tcp(true) };
	int other = tcp(true);
	size_t before = open_fds();

	(void)state;
	hear("FDSTORE=1\nFDNAME=one", fds, 3);
	assert_int_equal(store.n, 2);
	assert_int_equal(open_fds(), before - 1);
	hear("FDNAME=two\nFDSTORE=1", &other, 1);
	assert_int_equal(store.n, 3);
	hear("FDSTOREREMOVE=1\nFDNAME=on", NULL, 0);
	assert_int_equal(store.n, 3);
	hear("FDSTOREREMOVE=1\nFDNAME=one", NULL, 0);
	assert_int_equal(store.n, 1);
	fdstore_clear(&store);
	assert_int_equal(open_fds(), before - 4);
}

static void
nothing_but_listening_tcp_sockets_with_a_name_is_kept(void **state)
{
	static const char *const names[] = { "", "a:b", "a b", "a\tb", "\x7f", "\xc3\xa4" };
	char text[1024];
	size_t before = open_fds();
	int un[2];
	int fds[4];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, un), 0);
	close(un[1]);
	fds[0] = un[0];
	fds[1] = tcp(false);
	fds[2] = open("/dev/null", O_RDWR);
	fds[3] = socket(AF_INET, SOCK_DGRAM, 0);
	hear("FDSTORE=1\nFDNAME=a", fds, 4);
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		int fd = tcp(true);

		snprintf(text, sizeof(text), "FDSTORE=1\nFDNAME=%s", names[i]);
		hear(text, &fd, 1);
	}
	fds[0] = tcp(true);
	hear("FDSTORE=1", fds, 1);
	fds[0] = tcp(true);
	hear("READY=1", fds, 1);
	/* Too long a name, and too long a message. */
	for (size_t n = 101; n < 1000; n += 800) {
		int at = snprintf(text, sizeof(text), "FDSTORE=1\nFDNAME=");

		memset(text + at, 'x', n);
		text[(size_t)at + n] = '\0';
		fds[0] = tcp(true);
		assert_int_equal(hear(text, fds, 1), FDSTORE_NOTHING);
	}
	assert_int_equal(store.n, 0);
	assert_int_equal(open_fds(), before);
}

static void
the_end_of_the_other_side_is_told(void **state)
{
	(void)state;
	close(ends[1]);
	assert_int_equal(fdstore_read(&store, ends[0], told), FDSTORE_GONE);
	ends[1] = -1;
}

/* In a child: 0 when all stands where the environment says. */
static int
look_at_passed(const struct fdstore_pass *p, ino_t first, ino_t second)
{
	struct stat st;
	char pid[16];

	int pipe_fds[2];
	char c = 0;

	if (pipe(pipe_fds) < 0 || write(pipe_fds[1], "x", 1) != 1 ||
		!fdstore_pass_child(p, &store, (int[FDSTORE_OWN]){ ends[1], pipe_fds[0] }))
		return 1;
	snprintf(pid, sizeof(pid), "%d", (int)getpid());
	if (strcmp(getenv("LISTEN_PID"), pid) != 0 || strcmp(getenv("LISTEN_FDS"), "2") != 0 ||
		strcmp(getenv("LISTEN_FDNAMES"), "b:a") != 0)
		return 2;
	if (fstat(3, &st) < 0 || st.st_ino != first || fstat(4, &st) < 0 || st.st_ino != second)
		return 3;
	if (fcntl(3, F_GETFD) != 0 || fcntl(4, F_GETFD) != 0 ||
		fcntl(fdstore_own_number(&store), F_GETFD) != 0)
		return 4;
	if (fcntl(fdstore_own_number(&store) + 1, F_GETFD) != 0 ||
		read(fdstore_own_number(&store) + 1, &c, 1) != 1 || c != 'x')
		return 6;
	return write(fdstore_own_number(&store), "READY=1", 7) == 7 ? 0 : 5;
}

static void
what_is_kept_is_given_on_by_listen_fds(void **state)
{
	int a = tcp(true);
	int b = tcp(true);
	struct stat sa;
	struct stat sb;
	struct fdstore_pass p;
	int status;

	(void)state;
	fstat(a, &sa);
	fstat(b, &sb);
	hear("FDSTORE=1\nFDNAME=b", &b, 1);
	hear("FDSTORE=1\nFDNAME=a", &a, 1);
	fdstore_pass_init(&p, &store);

	pid_t pid = fork();

	if (pid == 0)
		_exit(look_at_passed(&p, sb.st_ino, sa.st_ino));
	fdstore_pass_fini(&p);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(fdstore_read(&store, ends[0], told), FDSTORE_READY);
	assert_int_equal(store.n, 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(words_are_told_apart),
		TEST(listeners_are_kept_once_and_taken_back_by_name),
		TEST(nothing_but_listening_tcp_sockets_with_a_name_is_kept),
		TEST(the_end_of_the_other_side_is_told),
		TEST(what_is_kept_is_given_on_by_listen_fds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
