/* SPDX-License-Identifier: GPL-2.0 */
/* What the proofs of our modules share: a line for each case, and small questions to the kernel. */
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int cases, failures;

static bool expect(bool holds, const char *sentence, ...)
{
	va_list arguments;
	int error = errno;

	cases++;
	failures += !holds;
	printf(holds ? "ok: " : "FAILED: ");
	va_start(arguments, sentence);
	vprintf(sentence, arguments);
	va_end(arguments);
	printf(holds ? "\n" : " (errno %d)\n", error);
	fflush(stdout);
	return holds;
}

/* For what the cases stand on. */
static int must(int result, const char *what)
{
	if (result < 0) {
		printf("FAILED: %s: %s\n", what, strerror(errno));
		exit(1);
	}
	return result;
}

static bool fails(int result, int error)
{
	return result < 0 && errno == error;
}

static bool ready(int descriptor, short events, int milliseconds)
{
	struct pollfd wait = { .fd = descriptor, .events = events };

	return poll(&wait, 1, milliseconds) == 1 && (wait.revents & events);
}
