/* What a stub of one of NVIDIA's libraries answers: the lines of a text file, named
 * by ESPERSIM_STUB_SCRIPT and read at every call.
 *
 *   set KEY VALUE               a number or a text of the device's
 *   fail SYMBOL CODE FROM COUNT calls FROM to FROM+COUNT-1 of a symbol, or of all
 *                               for *, from 1 on and since the line appeared,
 *                               return CODE
 *   event XID                   the driver reports it, once
 *
 * Other lines are an error of the test's: the stub says so and ends the process.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int (*stub_line)(char *const words[], int count, void *context);

static void stub_each(stub_line see, void *context) {
	const char *name = getenv("ESPERSIM_STUB_SCRIPT");
	FILE *f = name ? fopen(name, "r") : NULL;
	char line[512];
	if (!f)
		return; /* no script: everything is well */
	while (fgets(line, sizeof line, f)) {
		char *words[8], *save = NULL;
		int count = 0;
		for (char *w = strtok_r(line, " \n", &save); w && count < 8; w = strtok_r(NULL, count == 2 && !strcmp(words[0], "set") ? "\n" : " \n", &save))
			words[count++] = w;
		if (count == 0)
			continue;
		if (!(count == 3 && !strcmp(words[0], "set")) && !(count == 5 && !strcmp(words[0], "fail")) &&
		    !(count == 2 && !strcmp(words[0], "event"))) {
			fprintf(stderr, "%s: a line that begins with %s is not understood\n", name, words[0]);
			exit(3);
		}
		if (see(words, count, context))
			break;
	}
	fclose(f);
}

struct stub_wanted {
	const char *key;
	char *text;
	size_t length;
	int found;
};

static int stub_is_key(char *const words[], int count, void *context) {
	struct stub_wanted *w = context;
	(void)count;
	if (strcmp(words[0], "set") || strcmp(words[1], w->key))
		return 0;
	snprintf(w->text, w->length, "%s", words[2]);
	return w->found = 1;
}

__attribute__((unused)) static int stub_text(const char *key, char *text, size_t length, const char *otherwise) {
	struct stub_wanted w = {key, text, length, 0};
	stub_each(stub_is_key, &w);
	if (!w.found)
		snprintf(text, length, "%s", otherwise);
	return w.found;
}

__attribute__((unused)) static long long stub_number(const char *key, long long otherwise) {
	char text[64];
	return stub_text(key, text, sizeof text, "") ? atoll(text) : otherwise;
}

/* Counters of calls, by the line that counts them. */
static struct stub_count {
	char line[160];
	long long calls;
} stub_counts[64];

static long long stub_counted(const char *line) {
	for (int i = 0; i < 64; i++) {
		if (!stub_counts[i].line[0])
			snprintf(stub_counts[i].line, sizeof stub_counts[i].line, "%s", line);
		if (!strcmp(stub_counts[i].line, line))
			return ++stub_counts[i].calls;
	}
	fprintf(stderr, "the script has more than 64 lines that count\n");
	exit(3);
}

struct stub_call {
	const char *symbol;
	int result;
};

static int stub_fails(char *const words[], int count, void *context) {
	struct stub_call *c = context;
	char line[160];
	(void)count;
	if (strcmp(words[0], "fail") || (strcmp(words[1], c->symbol) && strcmp(words[1], "*")))
		return 0;
	snprintf(line, sizeof line, "%s %s %s %s", words[1], words[2], words[3], words[4]);
	long long n = stub_counted(line), from = atoll(words[3]);
	if (n >= from && n < from + atoll(words[4]))
		c->result = atoi(words[2]);
	return c->result != 0;
}

/* stub_result is what a call of a symbol returns: 0, or what the script says. */
static int stub_result(const char *symbol) {
	struct stub_call c = {symbol, 0};
	stub_each(stub_fails, &c);
	return c.result;
}
