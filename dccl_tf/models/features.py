"""Items and profiles as vectors. A caller passes ids alone: an item's categories are constants of the model."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

_MANY_CATEGORIES = 64
# Standard deviation of new rows, as in the code of FM's, NeuMF's and DeepFM's authors. Rows of unit length are noise
# that a model with a history must first unlearn.
SMALL = 0.01


class ItemTables(keras.layers.Layer):
    """A row for each item id, a row for each category, and which categories an item has.

    `set_categories` hands over what the items are; it is constant and saved with the model.
    """

    def __init__(
        self,
        items: int,
        width: int,
        categories: int,
        categories_per_item: int,
        category_width: int,
        stddev: float = SMALL,
        **kwargs: Any,
    ) -> None:
        """Args:
        items: V; the table has V + 2 rows (padding, V items, out of vocabulary).
        width: of an item's row.
        categories: G, number of different categories; 0 leaves them out.
        categories_per_item: M, most categories that one item has.
        category_width: of a category's row.
        stddev: of new rows, of items and of categories.
        """
        super().__init__(**kwargs)
        self.items, self.categories, self.categories_per_item = items, categories, categories_per_item
        normal = keras.initializers.RandomNormal(stddev=stddev)
        self.ids = self.add_weight(name="ids", shape=(items + 2, width), initializer=normal)
        if categories:
            normal = keras.initializers.RandomNormal(stddev=stddev)  # of its own: one instance repeats its numbers
            self.names = self.add_weight(name="categories", shape=(categories + 1, category_width), initializer=normal)
            self.of_item = self.add_weight(
                name="categories_of_item",
                shape=(items + 2, categories_per_item),
                initializer="zeros",
                dtype="int32",
                trainable=False,
            )
        self.built = True

    def set_categories(self, categories: np.ndarray) -> None:
        """categories int32 [V + 2, M], 0 = none (`Catalogue.categories`)."""
        if self.categories:
            self.of_item.assign(categories)

    def repeats(self, ids: tf.Tensor) -> bool:
        """Whether ids must repeat, so that computing what an item is once for each item is the shorter way."""
        count = ids.shape.num_elements()
        return bool(count) and count > self.items + 2

    def mean_of_categories(self, ids: tf.Tensor) -> tf.Tensor:
        """ids [...] to [..., category_width]; zero where an item has none."""
        categories = tf.gather(tf.convert_to_tensor(self.of_item), ids)  # [..., M], 0 = none
        named = tf.cast(categories > 0, tf.float32)[..., None]
        shares = named / tf.maximum(tf.reduce_sum(named, axis=-2, keepdims=True), 1.0)  # [..., M, 1]
        names = tf.convert_to_tensor(self.names)
        if self.categories < _MANY_CATEGORIES:  # the gradient of a product is cheaper than that of a look-up
            hot = tf.reduce_sum(tf.one_hot(categories, self.categories + 1) * shares, axis=-2)
            return tf.tensordot(hot, names, 1)
        return tf.reduce_sum(tf.gather(names, categories) * shares, axis=-2)


@keras.saving.register_keras_serializable(package="dccl")
class ItemEmbedding(ItemTables):
    """An item as [id embedding ; mean of its categories' embeddings]; padding (id 0) is the zero vector.

    The same table serves history and candidates.
    """

    def __init__(
        self,
        items: int,
        width: int,
        categories: int = 0,
        categories_per_item: int = 1,
        category_width: int = 8,
        **kwargs: Any,
    ) -> None:
        """Args:
        items: V; the table has V + 2 rows (padding, V items, out of vocabulary).
        width: of the id embedding.
        categories: G, number of different categories; 0 leaves them out.
        categories_per_item: M, most categories that one item has.
        category_width: of a category embedding.
        """
        super().__init__(items, width, categories, categories_per_item, category_width, **kwargs)
        self.id_width, self.category_width = width, category_width

    @property
    def width(self) -> int:
        """D, length of an item's vector."""
        return self.id_width + (self.category_width if self.categories else 0)

    def call(self, ids: tf.Tensor) -> tf.Tensor:
        """ids int32 [...] to vectors [..., D]."""
        if self.repeats(ids):
            return tf.gather(self.table(), ids)
        return self._vectors(tf.gather(tf.convert_to_tensor(self.ids), ids), ids)

    def table(self) -> tf.Tensor:
        """[V + 2, D]: every item's vector, for an export that need not know of categories."""
        return self._vectors(tf.convert_to_tensor(self.ids), tf.range(self.items + 2))

    def _vectors(self, own: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
        """Rows `own` [..., width] of the id table and the categories of `ids` [...] as vectors [..., D]."""
        real = tf.cast(ids > 0, tf.float32)[..., None]
        own = own * real
        if not self.categories:
            return own
        return tf.concat([own, self.mean_of_categories(ids) * real], axis=-1)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "items": self.items,
            "width": self.id_width,
            "categories": self.categories,
            "categories_per_item": self.categories_per_item,
            "category_width": self.category_width,
        }


@keras.saving.register_keras_serializable(package="dccl")
class ProfileEmbedding(keras.layers.Layer):
    """The P profile fields as one vector: their embeddings side by side."""

    def __init__(self, sizes: tuple[int, ...], width: int, **kwargs: Any) -> None:
        """Args:
        sizes: number of values of each field, "unknown" (index 0) included.
        width: of each field's embedding.
        """
        super().__init__(**kwargs)
        self.sizes, self.field_width = tuple(sizes), width
        self.offsets = np.concatenate([[0], np.cumsum(self.sizes)[:-1]]).astype(np.int32)
        normal = keras.initializers.RandomNormal(stddev=width**-0.5)
        self.values = self.add_weight(name="values", shape=(sum(self.sizes), width), initializer=normal)
        self.built = True

    def call(self, profile: tf.Tensor) -> tf.Tensor:
        """profile int32 [B, P] to [B, P * width]."""
        rows = tf.gather(tf.convert_to_tensor(self.values), profile + self.offsets)
        return tf.reshape(rows, [-1, len(self.sizes) * self.field_width])

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"sizes": self.sizes, "width": self.field_width}
