"""Photographs and videos: faces found, masked and repainted, files written.

`settings` says how; `files` decodes a photograph; `anonymiser` finds faces (`boxes`,
`tracking`, `recogniser`), cuts them out (`crops`), masks them (`face_masks`) and
repaints them (`photographs`, `inpainters`, `obfuscation`). `jobs` anonymises folders
and videos, `beam` does so with Apache Beam; `record` and `preview` report on the
result. `cli` is `tfpriv inpaint PATHS`.
"""
