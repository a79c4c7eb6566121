# The binary is static: the last stage holds it, the CAs that vouch for other servers (MTA-STS, relays, issuers of tokens), and nothing else.
FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o /out/packetboat ./cmd/packetboat \
 && mkdir -p /out/data && chmod 700 /out/data

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/packetboat /packetboat
COPY --from=build --chown=65532:65532 /out/data /data
USER 65532:65532
ENV PACKETBOAT_DATA=/data PACKETBOAT_LISTEN=all
VOLUME /data
EXPOSE 10025 10587 10465 10143 10993 14190 10021 10990 10088 10443 11100-11199
HEALTHCHECK --interval=15s --timeout=5s --start-period=10s CMD ["/packetboat", "health"]
ENTRYPOINT ["/packetboat"]
CMD ["serve"]
