#ifndef C_DASHBOARD_PAGES_H
#define C_DASHBOARD_PAGES_H

// The web pages of the dashboard, inside the program: it needs no files beside it.
typedef struct {
  const char *name; // "index.html"; the directory is flat
  const char *type; // the value of Content-Type
  const unsigned char *bytes;
  unsigned long size;
} flotilla_page;

// NULL: there is no such page.
const flotilla_page *flotilla_page_named(const char *name);

#endif
