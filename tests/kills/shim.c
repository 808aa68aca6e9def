/* Stands between a program and the C library's calls that change files, and counts those
   on paths below one folder. Before or in the middle of the Nth it ends the process, or
   it fails the Nth, as a full or broken disk would.

   Loaded by LD_PRELOAD, so it needs no privileges. It sees what a program and its
   libraries call by name (Python, tensorstore, TensorFlow), not what they do without the
   C library; tests/kills/test_shim.py compares it with strace.

   Streams (fopen) are watched as well, because the C library makes their system calls
   itself. */
#define _GNU_SOURCE
#undef _FORTIFY_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { OPEN, CREATE, WRITE, FSYNC, RENAME, MKDIR, UNLINK, LINK, RESIZE, CHMOD };
enum { COUNT, KILL, CUT, FAULT, SHORT };
enum { MOST_CALLS = 4000, MOST_FILES = 65536 };
/* What `at` may return besides 0 and an errno. */
enum { HALF = -1, HALF_THEN_END = -2 };

/* Shared with the process that watches. */
struct state {
    atomic_long calls;
    atomic_long reached;
    double first, last; /* Seconds on the monotonic clock. */
    unsigned char made[MOST_CALLS];
};

static struct state *state;
static char folder[PATH_MAX];
static size_t folder_length;
static int how, error;
static long number;
static atomic_char watched[MOST_FILES];

#define REAL(name)                                                                      \
    static __typeof__(&name) real;                                                      \
    if (!real)                                                                          \
        real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

/* Begins to watch; called after the fork, by the process that is to be disturbed. */
void shim_arm(const char *below, const char *state_file, int what, long at, int with)
{
    int descriptor = open(state_file, O_RDWR | O_CLOEXEC);
    void *made = mmap(NULL, sizeof *state, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor,
                      0);
    close(descriptor);
    if (made == MAP_FAILED)
        abort();
    strncpy(folder, below, sizeof folder - 1);
    folder_length = strlen(folder);
    how = what;
    number = at;
    error = with;
    memset((void *)watched, 0, sizeof watched);
    state = made;
}

/* Ends watching. The memory stays mapped, since another thread may be about to count. */
void shim_disarm(void) { state = NULL; }


static void end(void)
{
    kill(getpid(), SIGKILL);
    for (;;)
        pause();
}

static int below(const char *path)
{
    return strncmp(path, folder, folder_length) == 0 &&
           (path[folder_length] == 0 || path[folder_length] == '/');
}

/* Whether a path, relative to an open folder or to the current one, lies below. */
static int ours(int descriptor, const char *path)
{
    char start[PATH_MAX], whole[2 * PATH_MAX];
    if (!state || !path)
        return 0;
    if (path[0] == '/')
        return below(path);
    if (descriptor == AT_FDCWD) {
        if (!getcwd(start, sizeof start))
            return 0;
    } else {
        char link[64];
        snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
        ssize_t length = readlink(link, start, sizeof start - 1);
        if (length < 0)
            return 0;
        start[length] = 0;
    }
    snprintf(whole, sizeof whole, "%s/%s", start, path);
    return below(whole);
}

static int is_watched(int descriptor)
{
    return state && descriptor >= 0 && descriptor < MOST_FILES && watched[descriptor];
}

static void watch(int descriptor, int on)
{
    if (descriptor >= 0 && descriptor < MOST_FILES)
        watched[descriptor] = on;
}

/* Whether a kind of call may fail with an error. */
static int may_fail(int call)
{
    if (how == SHORT)
        return call == WRITE;
    if (how != FAULT)
        return 1;
    switch (error) {
    case ENOSPC:
        return call != OPEN && call != UNLINK && call != CHMOD;
    case EACCES:
        return call != WRITE && call != FSYNC && call != RESIZE;
    default:
        return 1;
    }
}

/* A disk that is full stays full for what needs room. */
static int stays(int call)
{
    return how == FAULT && error == ENOSPC &&
           (call == CREATE || call == WRITE || call == MKDIR || call == RESIZE ||
            call == LINK);
}

/* Counts a call that is about to be made. Returns 0 to make it, an errno to fail with, or
   how a write is to be cut. */
static int at(int call)
{
    struct state *state_now = state;
    if (!state_now || !may_fail(call))
        return 0;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    long counted = atomic_fetch_add(&state_now->calls, 1) + 1;
    state_now->last = now.tv_sec + 1e-9 * now.tv_nsec;
    if (counted == 1)
        state_now->first = state_now->last;
    if (counted < MOST_CALLS)
        state_now->made[counted] = call;
    if (how == COUNT || counted < number || (counted > number && !stays(call)))
        return 0;
    if (counted == number)
        state_now->reached = 1;
    if (how == KILL)
        end();
    if (how == CUT)
        return HALF_THEN_END;
    return how == SHORT ? HALF : error;
}

/* The same for calls that are made wholly or not at all: a cut comes after them. */
#define GUARDED(call, is_ours, failed, make)                                            \
    do {                                                                                \
        int found = (is_ours) ? at(call) : 0;                                           \
        if (found > 0) {                                                                \
            errno = found;                                                              \
            return failed;                                                              \
        }                                                                               \
        __typeof__(make) result = (make);                                               \
        if (found == HALF_THEN_END)                                                     \
            end();                                                                      \
        return result;                                                                  \
    } while (0)

#define MODE(flags)                                                                     \
    mode_t mode = 0;                                                                    \
    if ((flags) & (O_CREAT | O_TMPFILE)) {                                              \
        va_list more;                                                                   \
        va_start(more, flags);                                                          \
        mode = va_arg(more, mode_t);                                                    \
        va_end(more);                                                                   \
    }

/* Files that are opened to be read are not counted: what they say is no output. */
static int writes(int at_folder, const char *path, int flags)
{
    struct stat found;
    return flags & (O_CREAT | O_WRONLY | O_RDWR) ||
           (fstatat(at_folder, path, &found, 0) == 0 && S_ISDIR(found.st_mode));
}

#define OPENED(at_folder, path, flags, make)                                            \
    do {                                                                                \
        int mine = ours(at_folder, path), found = 0;                                    \
        if (mine && writes(at_folder, path, flags))                                     \
            found = at((flags) & O_CREAT ? CREATE : OPEN);                              \
        if (found > 0) {                                                                \
            errno = found;                                                              \
            return -1;                                                                  \
        }                                                                               \
        int result = (make);                                                            \
        watch(result, mine);                                                            \
        if (found == HALF_THEN_END)                                                     \
            end();                                                                      \
        return result;                                                                  \
    } while (0)

int open(const char *path, int flags, ...)
{
    REAL(open);
    MODE(flags);
    OPENED(AT_FDCWD, path, flags, real(path, flags, mode));
}

int open64(const char *path, int flags, ...)
{
    REAL(open64);
    MODE(flags);
    OPENED(AT_FDCWD, path, flags, real(path, flags, mode));
}

int openat(int at_folder, const char *path, int flags, ...)
{
    REAL(openat);
    MODE(flags);
    OPENED(at_folder, path, flags, real(at_folder, path, flags, mode));
}

int openat64(int at_folder, const char *path, int flags, ...)
{
    REAL(openat64);
    MODE(flags);
    OPENED(at_folder, path, flags, real(at_folder, path, flags, mode));
}

int creat(const char *path, mode_t mode)
{
    return open(path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

int __open_2(const char *path, int flags) { return open(path, flags); }
int __open64_2(const char *path, int flags) { return open64(path, flags); }

int close(int descriptor)
{
    REAL(close);
    watch(descriptor, 0);
    return real(descriptor);
}

#define WRITTEN(is_ours, count, make_all, make_half)                                    \
    do {                                                                                \
        int found = (is_ours) ? at(WRITE) : 0;                                          \
        if (found > 0) {                                                                \
            errno = found;                                                              \
            return -1;                                                                  \
        }                                                                               \
        if (found == 0 || (found == HALF && (count) < 2))                               \
            return (make_all);                                                          \
        ssize_t result = (make_half);                                                   \
        if (found == HALF_THEN_END)                                                     \
            end();                                                                      \
        return result;                                                                  \
    } while (0)

ssize_t write(int descriptor, const void *data, size_t count)
{
    REAL(write);
    WRITTEN(is_watched(descriptor), count, real(descriptor, data, count),
            real(descriptor, data, count / 2));
}

ssize_t pwrite(int descriptor, const void *data, size_t count, off_t place)
{
    REAL(pwrite);
    WRITTEN(is_watched(descriptor), count, real(descriptor, data, count, place),
            real(descriptor, data, count / 2, place));
}

ssize_t pwrite64(int descriptor, const void *data, size_t count, off64_t place)
{
    REAL(pwrite64);
    WRITTEN(is_watched(descriptor), count, real(descriptor, data, count, place),
            real(descriptor, data, count / 2, place));
}

ssize_t writev(int descriptor, const struct iovec *parts, int count)
{
    REAL(writev);
    WRITTEN(is_watched(descriptor), count ? parts[0].iov_len : 0,
            real(descriptor, parts, count),
            write(descriptor, parts[0].iov_base, parts[0].iov_len / 2));
}

ssize_t sendfile(int to, int from, off_t *place, size_t count)
{
    REAL(sendfile);
    WRITTEN(is_watched(to), count, real(to, from, place, count),
            real(to, from, place, count / 2));
}

ssize_t sendfile64(int to, int from, off64_t *place, size_t count)
{
    REAL(sendfile64);
    WRITTEN(is_watched(to), count, real(to, from, place, count),
            real(to, from, place, count / 2));
}

ssize_t copy_file_range(int from, off64_t *from_place, int to, off64_t *to_place,
                        size_t count, unsigned flags)
{
    REAL(copy_file_range);
    WRITTEN(is_watched(to), count,
            real(from, from_place, to, to_place, count, flags),
            real(from, from_place, to, to_place, count / 2, flags));
}

static FILE *opened(FILE *file, int mine)
{
    if (file)
        watch(fileno(file), mine);
    return file;
}

#define OPENED_STREAM(name)                                                             \
    FILE *name(const char *path, const char *mode)                                      \
    {                                                                                   \
        REAL(name);                                                                     \
        int mine = ours(AT_FDCWD, path);                                                \
        int counts = mine && strpbrk(mode, "wa+");                                      \
        GUARDED(CREATE, counts, NULL, opened(real(path, mode), mine));                  \
    }

OPENED_STREAM(fopen)
OPENED_STREAM(fopen64)

/* The stream's buffer is left out, so that each of these is one write. */
size_t fwrite(const void *data, size_t size, size_t count, FILE *file)
{
    REAL(fwrite);
    if (!is_watched(fileno(file)))
        return real(data, size, count, file);
    size_t bytes = size * count, done = 0;
    fflush(file);
    while (done < bytes) {
        ssize_t written = write(fileno(file), (const char *)data + done, bytes - done);
        if (written < 0)
            break;
        done += written;
    }
    return size ? done / size : 0;
}

int fclose(FILE *file)
{
    REAL(fclose);
    watch(fileno(file), 0);
    return real(file);
}

int fsync(int descriptor)
{
    REAL(fsync);
    GUARDED(FSYNC, is_watched(descriptor), -1, real(descriptor));
}

int fdatasync(int descriptor)
{
    REAL(fdatasync);
    GUARDED(FSYNC, is_watched(descriptor), -1, real(descriptor));
}

int rename(const char *from, const char *to)
{
    REAL(rename);
    GUARDED(RENAME, ours(AT_FDCWD, to), -1, real(from, to));
}

int renameat(int from_folder, const char *from, int to_folder, const char *to)
{
    REAL(renameat);
    GUARDED(RENAME, ours(to_folder, to), -1, real(from_folder, from, to_folder, to));
}

int renameat2(int from_folder, const char *from, int to_folder, const char *to,
              unsigned flags)
{
    REAL(renameat2);
    GUARDED(RENAME, ours(to_folder, to), -1,
            real(from_folder, from, to_folder, to, flags));
}

int mkdir(const char *path, mode_t mode)
{
    REAL(mkdir);
    GUARDED(MKDIR, ours(AT_FDCWD, path), -1, real(path, mode));
}

int mkdirat(int at_folder, const char *path, mode_t mode)
{
    REAL(mkdirat);
    GUARDED(MKDIR, ours(at_folder, path), -1, real(at_folder, path, mode));
}

int unlink(const char *path)
{
    REAL(unlink);
    GUARDED(UNLINK, ours(AT_FDCWD, path), -1, real(path));
}

int unlinkat(int at_folder, const char *path, int flags)
{
    REAL(unlinkat);
    GUARDED(UNLINK, ours(at_folder, path), -1, real(at_folder, path, flags));
}

int rmdir(const char *path)
{
    REAL(rmdir);
    GUARDED(UNLINK, ours(AT_FDCWD, path), -1, real(path));
}

int remove(const char *path)
{
    REAL(remove);
    GUARDED(UNLINK, ours(AT_FDCWD, path), -1, real(path));
}

int link(const char *from, const char *to)
{
    REAL(link);
    GUARDED(LINK, ours(AT_FDCWD, to), -1, real(from, to));
}

int linkat(int from_folder, const char *from, int to_folder, const char *to, int flags)
{
    REAL(linkat);
    GUARDED(LINK, ours(to_folder, to), -1,
            real(from_folder, from, to_folder, to, flags));
}

int symlink(const char *target, const char *path)
{
    REAL(symlink);
    GUARDED(LINK, ours(AT_FDCWD, path), -1, real(target, path));
}

#define RESIZED(name, declared, given)                                                  \
    int name declared                                                                   \
    {                                                                                   \
        REAL(name);                                                                     \
        GUARDED(RESIZE, is_watched(descriptor), -1, real given);                        \
    }

RESIZED(ftruncate, (int descriptor, off_t size), (descriptor, size))
RESIZED(ftruncate64, (int descriptor, off64_t size), (descriptor, size))
RESIZED(fallocate, (int descriptor, int mode, off_t from, off_t size),
        (descriptor, mode, from, size))
RESIZED(fallocate64, (int descriptor, int mode, off64_t from, off64_t size),
        (descriptor, mode, from, size))

int chmod(const char *path, mode_t mode)
{
    REAL(chmod);
    GUARDED(CHMOD, ours(AT_FDCWD, path), -1, real(path, mode));
}

int fchmod(int descriptor, mode_t mode)
{
    REAL(fchmod);
    GUARDED(CHMOD, is_watched(descriptor), -1, real(descriptor, mode));
}

int fchmodat(int at_folder, const char *path, mode_t mode, int flags)
{
    REAL(fchmodat);
    GUARDED(CHMOD, ours(at_folder, path), -1, real(at_folder, path, mode, flags));
}
