/* The files of this folder that stand in a report as they are; see CMakeLists.txt. */
#ifndef REPORT_ASSETS_H
#define REPORT_ASSETS_H

extern const char asset_report_css[], asset_review_js[];

#endif
