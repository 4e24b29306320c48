"""Photographs and videos: faces found, masked and repainted, files written.

`files` decodes a photograph; `anonymiser` finds faces (`boxes`, `tracking`, `keeping`),
cuts them out (`crops`), masks them (`face_masks`) and repaints them (`photographs`,
`inpainters`, `obfuscation`). `jobs` anonymises folders and videos, `beam` does so with
Apache Beam; `record`, `preview` and `residual` report on the result.
"""
