#include "app/report/html.h"

#include <cstdint>

namespace zoo::app {
namespace html_detail {

// Readable on paper and on dark screens; columns of figures line up.
constexpr const char* kStyle = R"css(
:root{--ink:#1d2430;--soft:#5d6778;--line:#dde2ea;--paper:#fff;--tile:#f5f7fa;--accent:#2563c9}
@media(prefers-color-scheme:dark){:root{--ink:#e6e9ef;--soft:#9aa5b5;--line:#333b48;--paper:#161a21;--tile:#1f2530;--accent:#7aa7f5}}
body{font:15px/1.5 system-ui,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;color:var(--ink);background:var(--paper);max-width:68rem;margin:2rem auto;padding:0 1.2rem}
h1{font-size:1.6rem;margin:0 0 .2rem}h2{font-size:1.15rem;margin:2.2rem 0 .7rem;border-bottom:1px solid var(--line);padding-bottom:.25rem}
p{color:var(--soft);margin:.3rem 0 .8rem}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}td,th{padding:.22rem .7rem;text-align:right;border-bottom:1px solid var(--line)}
th{font-weight:600;color:var(--soft)}td:first-child,th:first-child{text-align:left}
table.facts td{text-align:left;vertical-align:top}table.facts td:first-child{color:var(--soft);white-space:nowrap}
.tiles{display:flex;flex-wrap:wrap;gap:.8rem;margin:1rem 0}.tile{background:var(--tile);border-radius:.5rem;padding:.7rem 1.1rem;min-width:7rem}
.tile b{display:block;font-size:1.5rem}.tile span{color:var(--soft);font-size:.85rem}
.plots{display:flex;flex-wrap:wrap;gap:1.2rem}svg{display:block;max-width:100%}svg text{fill:var(--soft);font-size:11px}
table.matrix td,table.matrix th{padding:.3rem .45rem;text-align:center;border:1px solid var(--line);font-size:.85rem}
table.matrix th:first-child{text-align:right}table.matrix td:first-child{text-align:center}
.scroll{overflow-x:auto}
.gallery{display:flex;flex-wrap:wrap;gap:.9rem}figure{margin:0;width:8.2rem}
figure img{width:8.2rem;height:8.2rem;object-fit:contain;image-rendering:pixelated;background:#000;border-radius:.3rem}
figcaption{font-size:.8rem;line-height:1.3;margin-top:.25rem}figcaption .bad{color:#c2410c}figcaption .soft{color:var(--soft)}
)css";

}  // namespace html_detail

std::string escape_html(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    switch (c) {
      case '&': escaped += "&amp;"; break;
      case '<': escaped += "&lt;"; break;
      case '>': escaped += "&gt;"; break;
      case '"': escaped += "&quot;"; break;
      case '\'': escaped += "&#39;"; break;
      default: escaped += c;
    }
  }
  return escaped;
}

std::string base64(std::string_view bytes) {
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t group = 0;
    for (size_t k = 0; k < 3; ++k) group = group << 8 | (i + k < bytes.size() ? static_cast<unsigned char>(bytes[i + k]) : 0u);
    for (size_t k = 0; k < 4; ++k) text += i + k <= bytes.size() ? kDigits[group >> (18 - 6 * k) & 63] : '=';
  }
  return text;
}

Page::Page(std::string title) : title_(std::move(title)) {}

void Page::heading(const std::string& text) { body_ += "<h2>" + escape_html(text) + "</h2>\n"; }
void Page::paragraph(const std::string& text) { body_ += "<p>" + escape_html(text) + "</p>\n"; }
void Page::raw(const std::string& html) { body_ += html + "\n"; }

void Page::facts(const std::vector<std::pair<std::string, std::string>>& rows) {
  body_ += "<table class=\"facts\">\n";
  for (const auto& [name, value] : rows) body_ += "<tr><td>" + escape_html(name) + "</td><td>" + escape_html(value) + "</td></tr>\n";
  body_ += "</table>\n";
}

void Page::table(const std::vector<std::string>& header, const std::vector<std::vector<std::string>>& rows) {
  body_ += "<div class=\"scroll\"><table>\n<tr>";
  for (const auto& cell : header) body_ += "<th>" + escape_html(cell) + "</th>";
  body_ += "</tr>\n";
  for (const auto& row : rows) {
    body_ += "<tr>";
    for (const auto& cell : row) body_ += "<td>" + escape_html(cell) + "</td>";
    body_ += "</tr>\n";
  }
  body_ += "</table></div>\n";
}

void Page::figures(const std::vector<std::pair<std::string, std::string>>& tiles) {
  body_ += "<div class=\"tiles\">";
  for (const auto& [value, caption] : tiles) {
    body_ += "<div class=\"tile\"><b>" + escape_html(value) + "</b><span>" + escape_html(caption) + "</span></div>";
  }
  body_ += "</div>\n";
}

std::string Page::html() const {
  return "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\n<title>" +
         escape_html(title_) + "</title>\n<style>" + html_detail::kStyle + "</style></head><body>\n<h1>" + escape_html(title_) + "</h1>\n" +
         body_ + "</body></html>\n";
}

}  // namespace zoo::app
