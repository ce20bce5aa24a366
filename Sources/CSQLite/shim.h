#include <sqlite3.h>

/// sqlite3_db_config takes any number of arguments, which Swift can't call.
static inline int flotilla_sqlite3_keep_log(sqlite3 *connection) {
    return sqlite3_db_config(connection, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, (int *)0);
}

/// A virtual table that knows whose rows it shows. SQLite sees the first member only.
struct flotilla_feed_table {
    sqlite3_vtab base;
    void *feed;
};
