#ifndef C_DASHBOARD_PAGES_H
#define C_DASHBOARD_PAGES_H

// The web pages of the dashboard, inside the program: it needs no files beside it.
typedef struct {
  const char *name; // "index.html"; the directory is flat
  const char *type; // the value of Content-Type
  const unsigned char *bytes;
  unsigned long size;
} flotilla_page;

extern const flotilla_page flotilla_pages[];
extern const unsigned long flotilla_pages_count;

#endif
