#include "CDashboardPages.h"

#include <string.h>

// #embed is C23; clang has it in every language mode, and warns.
#pragma clang diagnostic ignored "-Wc23-extensions"

static const unsigned char api_js[] = {
#embed "pages/api.js"
};
static const unsigned char app_css[] = {
#embed "pages/app.css"
};
static const unsigned char app_js[] = {
#embed "pages/app.js"
};
static const unsigned char banners_js[] = {
#embed "pages/banners.js"
};
static const unsigned char bytestext_js[] = {
#embed "pages/bytestext.js"
};
static const unsigned char chart_js[] = {
#embed "pages/chart.js"
};
static const unsigned char dialogs_js[] = {
#embed "pages/dialogs.js"
};
static const unsigned char dom_js[] = {
#embed "pages/dom.js"
};
static const unsigned char drag_js[] = {
#embed "pages/drag.js"
};
static const unsigned char events_js[] = {
#embed "pages/events.js"
};
static const unsigned char feed_js[] = {
#embed "pages/feed.js"
};
static const unsigned char format_js[] = {
#embed "pages/format.js"
};
static const unsigned char group_js[] = {
#embed "pages/group.js"
};
static const unsigned char heatmap_js[] = {
#embed "pages/heatmap.js"
};
static const unsigned char history_js[] = {
#embed "pages/history.js"
};
static const unsigned char icon_svg[] = {
#embed "pages/icon.svg"
};
static const unsigned char index_html[] = {
#embed "pages/index.html"
};
static const unsigned char keys_js[] = {
#embed "pages/keys.js"
};
static const unsigned char moves_js[] = {
#embed "pages/moves.js"
};
static const unsigned char overview_js[] = {
#embed "pages/overview.js"
};
static const unsigned char plan_js[] = {
#embed "pages/plan.js"
};
static const unsigned char problems_js[] = {
#embed "pages/problems.js"
};
static const unsigned char route_js[] = {
#embed "pages/route.js"
};
static const unsigned char shards_js[] = {
#embed "pages/shards.js"
};
static const unsigned char table_js[] = {
#embed "pages/table.js"
};
static const unsigned char theme_js[] = {
#embed "pages/theme.js"
};
static const unsigned char times_js[] = {
#embed "pages/times.js"
};
static const unsigned char topology_js[] = {
#embed "pages/topology.js"
};

#define PAGE(name, type, bytes) {name, type, bytes, sizeof bytes}

static const flotilla_page flotilla_pages[] = {
    PAGE("api.js", "text/javascript; charset=utf-8", api_js),
    PAGE("app.css", "text/css; charset=utf-8", app_css),
    PAGE("app.js", "text/javascript; charset=utf-8", app_js),
    PAGE("banners.js", "text/javascript; charset=utf-8", banners_js),
    PAGE("bytestext.js", "text/javascript; charset=utf-8", bytestext_js),
    PAGE("chart.js", "text/javascript; charset=utf-8", chart_js),
    PAGE("dialogs.js", "text/javascript; charset=utf-8", dialogs_js),
    PAGE("dom.js", "text/javascript; charset=utf-8", dom_js),
    PAGE("drag.js", "text/javascript; charset=utf-8", drag_js),
    PAGE("events.js", "text/javascript; charset=utf-8", events_js),
    PAGE("feed.js", "text/javascript; charset=utf-8", feed_js),
    PAGE("format.js", "text/javascript; charset=utf-8", format_js),
    PAGE("group.js", "text/javascript; charset=utf-8", group_js),
    PAGE("heatmap.js", "text/javascript; charset=utf-8", heatmap_js),
    PAGE("history.js", "text/javascript; charset=utf-8", history_js),
    PAGE("icon.svg", "image/svg+xml", icon_svg),
    PAGE("index.html", "text/html; charset=utf-8", index_html),
    PAGE("keys.js", "text/javascript; charset=utf-8", keys_js),
    PAGE("moves.js", "text/javascript; charset=utf-8", moves_js),
    PAGE("overview.js", "text/javascript; charset=utf-8", overview_js),
    PAGE("plan.js", "text/javascript; charset=utf-8", plan_js),
    PAGE("problems.js", "text/javascript; charset=utf-8", problems_js),
    PAGE("route.js", "text/javascript; charset=utf-8", route_js),
    PAGE("shards.js", "text/javascript; charset=utf-8", shards_js),
    PAGE("table.js", "text/javascript; charset=utf-8", table_js),
    PAGE("theme.js", "text/javascript; charset=utf-8", theme_js),
    PAGE("times.js", "text/javascript; charset=utf-8", times_js),
    PAGE("topology.js", "text/javascript; charset=utf-8", topology_js),
};

const flotilla_page *flotilla_page_named(const char *name) {
  for (unsigned long index = 0; index < sizeof flotilla_pages / sizeof flotilla_pages[0]; index++) {
    if (strcmp(flotilla_pages[index].name, name) == 0) return &flotilla_pages[index];
  }
  return NULL;
}
