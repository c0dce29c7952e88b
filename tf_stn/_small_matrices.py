"""Products and inverses of matrices of two to four rows.

Not `tf.linalg`: its products are rounded to ten bits on some GPUs, its inverse is not exact for an
identity, and some run-times that models are exported to lack it.
"""

import tensorflow as tf


def product(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """Returns the product of matrices in full precision."""
    return tf.reduce_sum(a[..., :, :, None] * b[..., None, :, :], axis=-2)


def transform(matrix: tf.Tensor, vector: tf.Tensor) -> tf.Tensor:
    """Returns the product of matrices and vectors in full precision."""
    return tf.reduce_sum(matrix * vector[..., None, :], axis=-1)


def move(matrix: tf.Tensor, points: tf.Tensor) -> tf.Tensor:
    """Returns where affine matrices take points; of square ones homogeneous coordinates."""
    return transform(matrix[..., :-1], points) + matrix[..., -1]


def to_square(matrix: tf.Tensor) -> tf.Tensor:
    """Completes affine matrices by the row 0, ..., 0, 1; square ones stay."""
    rows, columns = matrix.shape.as_list()[-2:]
    if rows == columns:
        return matrix
    row = tf.concat([tf.zeros_like(matrix[..., :1, :-1]), tf.ones_like(matrix[..., :1, -1:])], -1)
    return tf.concat([matrix, row], axis=-2)


def _minor(rows: list[list[tf.Tensor]], row: int, column: int) -> list[list[tf.Tensor]]:
    return [line[:column] + line[column + 1 :] for i, line in enumerate(rows) if i != row]


def _determinant(rows: list[list[tf.Tensor]]) -> tf.Tensor:
    """Returns the determinant of a matrix given by its entries, by expansion of the first row."""
    if len(rows) == 1:
        return rows[0][0]
    terms = [entry * _determinant(_minor(rows, 0, i)) for i, entry in enumerate(rows[0])]
    return sum(terms[2::2], terms[0]) - sum(terms[3::2], terms[1])


def _entries(matrix: tf.Tensor) -> list[list[tf.Tensor]]:
    return [tf.unstack(row, axis=-1) for row in tf.unstack(matrix, axis=-2)]


def determinant(matrix: tf.Tensor) -> tf.Tensor:
    """Returns the determinants of square matrices."""
    return _determinant(_entries(matrix))


def _inverse_square(matrix: tf.Tensor) -> tf.Tensor:
    rows = _entries(matrix)
    cofactors = [
        [(-1) ** (i + j) * _determinant(_minor(rows, i, j)) for j in range(len(rows))]
        for i in range(len(rows))
    ]
    total = sum(a * b for a, b in zip(rows[0], cofactors[0], strict=True))
    columns = [tf.stack(column, axis=-1) for column in cofactors]  # The transpose.
    return tf.stack(columns, axis=-1) / tf.reshape(total, tf.concat([tf.shape(total), [1, 1]], 0))


def inverse(matrix: tf.Tensor) -> tf.Tensor:
    """Returns the inverses of affine or square matrices; infinite or NaN where there is none."""
    rows, columns = matrix.shape.as_list()[-2:]
    if rows == columns:
        return _inverse_square(matrix)
    linear = _inverse_square(matrix[..., :-1])
    return tf.concat([linear, -transform(linear, matrix[..., -1])[..., None]], axis=-1)
