"""Words of browsers' user agents, by how often they occur in rules/browsers.yaml (counted 2026-11-25).

An agent's name is not looked for in a user agent that consists of such words alone.
"""

_IN_MOST = """
android applewebkit chrome compatible gecko intel khtml like linux mac macintosh mobile mozilla os safari
version win windows
"""
_IN_MANY = """
amd app apple applecoremedia arm armv browser build cfnetwork chromium code com cpu crios crkey cros dalvik
darwin debian duckduckgo edg edga edge edgios electron exoplayerlib fban fbav firefox fxios gnu gsa hbbtv http
https iab iemobile instagram ios ipad iphone itunes kaios lge media microsoft model msie net nintendo opera opr
overcast phone player playstation plus podcasts samsung samsungbrowser scale silk smart smarttv spotify tab
tablet tizen touch trident ubuntu vivaldi vlc watch web webos wifi wow wv www xbox yabrowser
"""
_IN_SOME = """
baidu brave castbox center channel clr discord dpi drm dtv dual ecosia epiphany explorer fbbv fbcr fbdm fbdv
fbfv fbid fbios fblc fbmd fbop fbsn fbss fbsv fedora focus freebsd galaxy heytapbrowser huawei huaweibrowser
inapp infopath ipod kindle konqueror lang language lavf light line lite locale lumia maxthon micromessenger
miuibrowser moto mqqbrowser netcast nettype nintendobrowser nokia note office okhttp oneplus openbsd pad
palemoon pinterest pixel playerlib presto redmi release screen seamonkey slcc snapchat sonos stagefright steam
teams tesla twitterandroid ucbrowser utf valve vivobrowser wayland webkit webview whale xiaomi
"""

IN_MOST = frozenset(_IN_MOST.split())
"""Words that most browsers send."""

COMMON = IN_MOST.union(_IN_MANY.split())
"""Words that many browsers send: few enough for Go's regular expressions (targets/go_regex.py)."""

ALL = COMMON.union(_IN_SOME.split())
"""Every known word."""
