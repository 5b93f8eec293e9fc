"""Django, both ways: `uvicorn examples.django.app:asgi` and `gunicorn examples.django.app:wsgi`."""

import re

from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from django.views.decorators.http import last_modified

from examples.one_song import song
from noai_guard import NoAIMiddleware, NoAIWSGIMiddleware

settings.configure(
    ROOT_URLCONF=__name__,
    ALLOWED_HOSTS=["*"],
    MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
)


def page(request: HttpRequest) -> HttpResponse:
    return HttpResponse(song.PAGE)


def facts(request: HttpRequest) -> HttpResponse:
    verdict = request.scope["state"]["noai"] if hasattr(request, "scope") else request.environ["noai.verdict"]
    return JsonResponse({**song.FACTS, "verdict": verdict.action})


def feed(request: HttpRequest) -> HttpResponse:
    return HttpResponse(song.feed(), content_type="application/rss+xml")


def robots(request: HttpRequest) -> HttpResponse:
    return HttpResponse(song.ROBOTS, content_type="text/plain; charset=utf-8")


# Django's FileResponse knows no ranges (5.2), which players need to seek.
@last_modified(lambda request: song.RELEASED)
def audio(request: HttpRequest) -> HttpResponse:
    body = (song.folder() / "quay.wav").read_bytes()
    fields = {"Accept-Ranges": "bytes", "Content-Type": "audio/x-wav"}
    asked = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("Range", ""))
    if asked is None:
        return HttpResponse(body, headers=fields)
    first, last = int(asked[1]), min(int(asked[2] or len(body) - 1), len(body) - 1)
    if first > last:
        return HttpResponse(status=416, headers={**fields, "Content-Range": f"bytes */{len(body)}"})
    fields["Content-Range"] = f"bytes {first}-{last}/{len(body)}"
    return HttpResponse(body[first : last + 1], status=206, headers=fields)


def missing(request: HttpRequest, exception: Exception) -> HttpResponse:
    return HttpResponse(song.MISSING, status=404)


urlpatterns = [
    path("", page),
    path("api/song", facts),
    path("feed.xml", feed),
    path("robots.txt", robots),
    path("audio/quay.wav", audio),
]
handler404 = missing

asgi = NoAIMiddleware(get_asgi_application(), policy="examples/one_song/noai.yaml")
wsgi = NoAIWSGIMiddleware(get_wsgi_application(), policy="examples/one_song/noai.yaml")
