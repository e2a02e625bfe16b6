# Joins the status page from its three sources, and writes page.cc with it and with the hashes that
# its Content-Security-Policy names. At configure time, in CMake alone: a build needs nothing more.

# `hex`: 64 digits. Six of them are four digits of base64.
function(fnrun_base64_of_sha256 hex result)
  set(digits ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/)
  set(text "")
  foreach(at RANGE 0 60 6)
    string(SUBSTRING "${hex}00" ${at} 6 group)
    foreach(shift IN ITEMS 18 12 6 0)
      math(EXPR index "(0x${group} >> ${shift}) & 63")
      string(SUBSTRING ${digits} ${index} 1 digit)
      string(APPEND text ${digit})
    endforeach()
  endforeach()
  string(SUBSTRING ${text} 0 43 text)  # 32 bytes: the last digit is padding.
  set(${result} "${text}=" PARENT_SCOPE)
endfunction()

set(page_sources page.html page.css page.js page.cc.in)
list(TRANSFORM page_sources PREPEND ${CMAKE_CURRENT_LIST_DIR}/)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${page_sources})
file(READ ${CMAKE_CURRENT_LIST_DIR}/page.css FNRUN_PAGE_STYLE)
file(READ ${CMAKE_CURRENT_LIST_DIR}/page.js FNRUN_PAGE_SCRIPT)
string(SHA256 style_hash "${FNRUN_PAGE_STYLE}")
string(SHA256 script_hash "${FNRUN_PAGE_SCRIPT}")
fnrun_base64_of_sha256(${style_hash} FNRUN_PAGE_STYLE_HASH)
fnrun_base64_of_sha256(${script_hash} FNRUN_PAGE_SCRIPT_HASH)
configure_file(${CMAKE_CURRENT_LIST_DIR}/page.html ${CMAKE_CURRENT_BINARY_DIR}/page.html @ONLY)
file(READ ${CMAKE_CURRENT_BINARY_DIR}/page.html FNRUN_PAGE)
configure_file(${CMAKE_CURRENT_LIST_DIR}/page.cc.in ${CMAKE_CURRENT_BINARY_DIR}/page.cc @ONLY)
