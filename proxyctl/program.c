/*
 * program: fork, exec, read until the end.
 */
#include "proxyctl/program.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libcommon/mem.h"
#include "proxyctl/spawn.h"

#define OUTPUT_MAX (64u << 20)

char *
program_path(const char *name)
{
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (n > 0) {
		self[n] = '\0';

		char *slash = strrchr(self, '/');
		char *path = xasprintf("%.*s/%s", (int)(slash - self), self, name);

		if (access(path, X_OK) == 0)
			return path;
		free(path);
	}
	return xstrdup(name);
}

static void
read_all(int fd, struct sbuf *out)
{
	for (;;) {
		char *at = sbuf_reserve(out, 65536);
		ssize_t n = read(fd, at, 65536);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0 || out->n > OUTPUT_MAX)
			return;
		out->n += (size_t)n;
		out->p[out->n] = '\0';
	}
}

int
program_run(char *const *argv, struct sbuf *out, struct err *err)
{
	int pipe_fds[2];
	int status;

	if (pipe2(pipe_fds, O_CLOEXEC) < 0)
		return err_set(err, "pipe: %s", strerror(errno));

	pid_t pid = spawn_fork();

	if (pid == 0) {
		spawn_unblock();
		dup2(pipe_fds[1], STDOUT_FILENO);
		execvp(argv[0], argv);
		_exit(127);
	}
	close(pipe_fds[1]);
	if (pid > 0)
		read_all(pipe_fds[0], out);
	close(pipe_fds[0]);
	if (pid < 0)
		return err_set(err, "fork: %s", strerror(errno));
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return err_set(err, "%s: %s", argv[0], strerror(errno));
	if (WIFSIGNALED(status))
		return err_set(err, "%s: ended by signal %d", argv[0], WTERMSIG(status));
	if (WEXITSTATUS(status) == 127)
		return err_set(err, "%s: cannot be run", argv[0]);
	return WEXITSTATUS(status);
}
