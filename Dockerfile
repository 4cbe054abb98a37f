# The function as a container: the same app, not as root, and it writes no file.
#   docker build -t fieldmark .
#   docker run --read-only --cap-drop ALL --security-opt no-new-privileges -p 7071:7071 -e FIELDMARK_FUNCTION_KEY=... fieldmark
FROM python:3.11-slim@sha256:9534e5a8e315485d4061ed659af0fd78a284c015f9b73661b41d6bab25604534 AS page
COPY app app
RUN python app/bundle.py page

FROM python:3.11-slim@sha256:9534e5a8e315485d4061ed659af0fd78a284c015f9b73661b41d6bab25604534
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 PORT=7071
WORKDIR /srv
COPY azure_function/requirements.txt azure_function/server.txt ./
RUN pip install --no-cache-dir --require-hashes -r requirements.txt -r server.txt \
  && useradd bird
COPY azure_function/birds birds
COPY azure_function/model/*.onnx azure_function/model/LICENSE.md model/
COPY --from=page page birds/page
USER bird
EXPOSE 7071
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s \
  CMD ["python", "-c", "import os, urllib.request as u; u.urlopen('http://127.0.0.1:' + os.environ['PORT'] + '/api/health/alive')"]
CMD ["python", "-m", "birds.server", "--host", "0.0.0.0"]
