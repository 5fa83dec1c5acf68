/* outside: see the header. */
#include "proxyctl/outside.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libcommon/clock.h"

#define USER           "nobody"
#define PIPE           3 /* of the child: nothing else is open beyond stderr */
#define EXIT_NO_RIGHTS 3

/* ---- the child ---- */

/* Root has asked for it: then it is root no more, and never again. */
static int
become(const struct passwd *pw)
{
	if (pw != NULL &&
		(setgroups(0, NULL) < 0 || setresgid(pw->pw_gid, pw->pw_gid, pw->pw_gid) < 0 ||
			setresuid(pw->pw_uid, pw->pw_uid, pw->pw_uid) < 0 ||
			setresuid(0, 0, 0) == 0))
		return -1;
	/* After the user has changed, which forgets it. */
	return prctl(PR_SET_PDEATHSIG, SIGKILL);
}

static int
give_up_rights(const struct passwd *pw, int answer, pid_t parent)
{
	const struct rlimit none = { 0, 0 };
	int null;

	/* In this order: with stdin or stdout closed, any of these numbers may be the other's. */
	if (dup2(answer, PIPE) < 0 || close_range(PIPE + 1, ~0u, 0) < 0)
		return -1;
	null = open("/dev/null", O_RDWR);
	if (null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0)
		return -1;
	if (setrlimit(RLIMIT_FSIZE, &none) < 0 || setrlimit(RLIMIT_CORE, &none) < 0 ||
		prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -1;
	return become(pw) < 0 || getppid() != parent ? -1 : 0;
}

static void
child(void (*fn)(void *arg, void *out), void *arg, char *out, size_t n)
{
	fn(arg, out);
	while (n > 0) {
		ssize_t w = write(PIPE, out, n);

		if (w < 0 && errno == EINTR)
			continue;
		if (w <= 0)
			_exit(1);
		out += w;
		n -= (size_t)w;
	}
	_exit(0);
}

/* ---- who waits for it ---- */

/* How many bytes came until its end or ours. */
static size_t
take(int fd, char *out, size_t n, int64_t until_ms)
{
	size_t got = 0;

	while (got < n) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		int64_t left = until_ms - clock_ms();
		int rc = left > 0 ? poll(&p, 1, left < 60000 ? (int)left : 60000) : 0;

		if (rc < 0 && errno == EINTR)
			continue;
		if (left <= 0 || rc < 0)
			break;
		if (rc == 0)
			continue;

		ssize_t r = read(fd, out + got, n - got);

		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			break;
		got += (size_t)r;
	}
	return got;
}

static int
end_of(pid_t pid)
{
	int status = 0;

	kill(pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return status;
}

int
outside_run(void (*fn)(void *arg, void *out), void *arg, void *out, size_t n, int64_t timeout_ms,
	struct err *err)
{
	const struct passwd *pw = NULL;
	pid_t parent = getpid();
	int fd[2];
	pid_t pid;

	memset(out, 0, n);
	if (geteuid() == 0 && (pw = getpwnam(USER)) == NULL)
		return err_set(err, "there is no user `%s` to ask as", USER);
	if (pipe2(fd, O_CLOEXEC) < 0)
		return err_set(err, "pipe: %s", strerror(errno));
	pid = fork();
	if (pid == 0) {
		if (give_up_rights(pw, fd[1], parent) < 0)
			_exit(EXIT_NO_RIGHTS);
		child(fn, arg, out, n);
	}
	close(fd[1]);
	if (pid < 0) {
		close(fd[0]);
		return err_set(err, "fork: %s", strerror(errno));
	}

	size_t got = take(fd[0], out, n, clock_ms() + timeout_ms);
	int status;

	close(fd[0]);
	status = end_of(pid);
	if (got == n)
		return 0;
	memset(out, 0, n);
	if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_NO_RIGHTS)
		return err_set(err, "rights cannot be given up");
	return err_set(err,
		WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL ? "no answer in time"
								   : "whoever asks has failed");
}
